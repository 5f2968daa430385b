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
