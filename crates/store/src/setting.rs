//! Settings of the whole Weir, by name.

use crate::row::Fields;
use crate::{Store, StoreError};

impl Store {
    /// The value of a setting, if it was ever set.
    pub async fn setting_get(&self, name: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(self.read())
            .await?;
        row.map(|row| Fields(&row).text("value")).transpose()
    }

    /// All settings whose names begin with this, which is no pattern.
    pub async fn setting_list(&self, beginning: &str) -> Result<Vec<(String, String)>, StoreError> {
        let length = i64::try_from(beginning.chars().count()).unwrap_or(i64::MAX);
        let rows = sqlx::query("SELECT name, value FROM settings WHERE substr(name, 1, $1) = $2 ORDER BY name")
            .bind(length)
            .bind(beginning)
            .fetch_all(self.read())
            .await?;
        rows.iter()
            .map(|row| Ok((Fields(row).text("name")?, Fields(row).text("value")?)))
            .collect()
    }

    /// Forgets a setting. Fine if there is none.
    pub async fn setting_delete(&self, name: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM settings WHERE name = $1")
            .bind(name)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Sets a setting.
    pub async fn setting_set(&self, name: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(self.write())
        .await?;
        Ok(())
    }
}
