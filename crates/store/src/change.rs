//! Changes of state, as a stream that clients resume where they left it.

use weir_model::UnixMillis;

use crate::row::{Fields, FromRow, all, storable};
use crate::search::{Conditions, Value};
use crate::{Store, StoreError};

/// Something that changed and that people may want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Rises by one with every change, also across restarts; becomes visible in this order.
    pub sequence: i64,
    /// When it happened.
    pub at_ms: UnixMillis,
    /// Name of the project.
    pub project: String,
    /// Name of the environment, if it is about one.
    pub environment: Option<String>,
    /// `deployment.live`, `environment.paused` …
    pub kind: String,
    /// One line for people.
    pub message: String,
}

/// Which changes of the past are looked for; every part narrows it.
#[derive(Debug, Clone, Default)]
pub struct ChangeSearch {
    /// Only before this sequence.
    pub before: Option<i64>,
    /// Only after this sequence.
    pub after: Option<i64>,
    /// Only of the project of this name.
    pub project: Option<String>,
    /// Only of environments of this name.
    pub environment: Option<String>,
    /// Only kinds that begin like this: `deployment.`.
    pub kind: Option<String>,
    /// Only of what exists in these accounts, projects and environments, and of nothing that another
    /// one of the same name has left; `None`: of everything.
    pub within: Option<Vec<String>>,
    /// Most changes.
    pub limit: i64,
}

impl ChangeSearch {
    fn conditions(&self) -> Conditions {
        let mut conditions = Conditions::default();
        if let Some(before) = self.before {
            let place = conditions.place(Value::Number(before));
            conditions.hold(format!("sequence < {place}"));
        }
        if let Some(after) = self.after {
            let place = conditions.place(Value::Number(after));
            conditions.hold(format!("sequence > {place}"));
        }
        conditions.is("project", self.project.clone());
        conditions.is("environment", self.environment.clone());
        if let Some(kind) = &self.kind {
            let length = i64::try_from(kind.chars().count()).unwrap_or(i64::MAX);
            let length = conditions.place(Value::Number(length));
            let place = conditions.place(Value::Text(storable(kind)));
            conditions.hold(format!("SUBSTR(kind, 1, CAST({length} AS INTEGER)) = {place}"));
        }
        if let Some(within) = &self.within {
            let keys = conditions.keys(within);
            conditions.hold(format!(
                "EXISTS (SELECT 1 FROM projects WHERE projects.name = changes.project
                    AND projects.created_ms <= changes.at_ms
                    AND (projects.account_id IN ({keys}) OR projects.id IN ({keys}) OR EXISTS (
                        SELECT 1 FROM environments WHERE environments.project_id = projects.id
                        AND environments.name = changes.environment AND environments.created_ms <= changes.at_ms
                        AND environments.id IN ({keys}))))"
            ));
        }
        conditions
    }
}

impl FromRow for Change {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: row.integer("sequence")?,
            at_ms: row.integer("at_ms")?,
            project: row.text("project")?,
            environment: row.text_optional("environment")?,
            kind: row.text("kind")?,
            message: row.text("message")?,
        })
    }
}

impl Store {
    /// Writes a change and returns it with its sequence.
    pub async fn change_insert(
        &self,
        now_ms: UnixMillis,
        project: &str,
        environment: Option<&str>,
        kind: &str,
        message: &str,
    ) -> Result<Change, StoreError> {
        let mut transaction = self.begin().await?;
        // Locks the counter until the commit: no one with a higher number is visible earlier.
        let row = sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'change' RETURNING value")
            .fetch_one(&mut *transaction)
            .await?;
        let change = Change {
            sequence: Fields(&row).integer("value")?,
            at_ms: now_ms,
            project: project.to_owned(),
            environment: environment.map(str::to_owned),
            kind: kind.to_owned(),
            message: storable(message),
        };
        sqlx::query(
            "INSERT INTO changes (sequence, at_ms, project, environment, kind, message)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(change.sequence)
        .bind(change.at_ms)
        .bind(&change.project)
        .bind(change.environment.as_deref())
        .bind(&change.kind)
        .bind(&change.message)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(change)
    }

    /// The changes after a sequence, oldest first, at most `limit`.
    pub async fn change_list(&self, after: i64, limit: i64) -> Result<Vec<Change>, StoreError> {
        let query = sqlx::query("SELECT * FROM changes WHERE sequence > $1 ORDER BY sequence LIMIT $2")
            .bind(after)
            .bind(limit.max(0));
        all(&query.fetch_all(self.read()).await?)
    }

    /// Changes of the past, newest first.
    pub async fn change_search(&self, search: &ChangeSearch) -> Result<Vec<Change>, StoreError> {
        let rows = search
            .conditions()
            .rows(self.read(), ("changes", "sequence DESC"), search.limit);
        all(&rows.await?)
    }

    /// Removes all but the newest `keep` changes. Sequences go on rising.
    pub async fn change_prune(&self, keep: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM changes WHERE sequence <= (SELECT value FROM counters WHERE name = 'change') - $1")
            .bind(keep.max(0))
            .execute(self.write())
            .await?;
        Ok(())
    }
}
