//! Statements that are put together from what is looked for. Texts of people are only ever values.

use sqlx::AnyPool;
use sqlx::any::AnyRow;

use crate::StoreError;

/// A value of a statement.
#[derive(Debug)]
pub(crate) enum Value {
    Number(i64),
    Text(String),
}

/// Conditions that all have to hold.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    words: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// The place of a value in the statement: `$3`.
    pub(crate) fn place(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// The places of identities, for `IN (…)`; of none, one that nothing has.
    pub(crate) fn keys(&mut self, keys: &[String]) -> String {
        let places: Vec<String> = keys.iter().map(|key| self.place(Value::Text(key.clone()))).collect();
        if places.is_empty() {
            return "''".to_owned();
        }
        places.join(", ")
    }

    /// Adds a condition; whatever comes from outside is in it by [`Self::place`] only.
    pub(crate) fn hold(&mut self, condition: String) {
        self.words.push(condition);
    }

    /// Adds that a column has a value, if one is wanted.
    pub(crate) fn is(&mut self, column: &str, value: Option<String>) {
        if let Some(value) = value {
            let place = self.place(Value::Text(value));
            self.hold(format!("{column} = {place}"));
        }
    }

    /// The rows of a table for which all hold, in an order, at most `limit`.
    pub(crate) async fn rows(
        mut self,
        pool: &AnyPool,
        (table, order): (&str, &str),
        limit: i64,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let limit = self.place(Value::Number(limit.max(0)));
        let holds = if self.words.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", self.words.join(" AND "))
        };
        let statement = format!("SELECT * FROM {table} {holds} ORDER BY {order} LIMIT {limit}");
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
        for value in self.values {
            query = match value {
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
            };
        }
        Ok(query.fetch_all(pool).await?)
    }
}
