//! From rows to nouns and back. What cannot be read is an error, never a default: a wrong
//! answer about what should run is worse than none.

use std::fmt::Display;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::StoreError;

/// A noun that is a row of a table.
pub(crate) trait FromRow: Sized {
    /// Reads it.
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError>;
}

/// The columns of one row.
pub(crate) struct Fields<'r>(pub(crate) &'r AnyRow);

impl Fields<'_> {
    pub(crate) fn text(&self, column: &str) -> Result<String, StoreError> {
        self.0
            .try_get(column)
            .map_err(|error| StoreError::unreadable(column, error))
    }

    pub(crate) fn text_optional(&self, column: &str) -> Result<Option<String>, StoreError> {
        self.0
            .try_get(column)
            .map_err(|error| StoreError::unreadable(column, error))
    }

    pub(crate) fn integer(&self, column: &str) -> Result<i64, StoreError> {
        self.0
            .try_get(column)
            .map_err(|error| StoreError::unreadable(column, error))
    }

    pub(crate) fn integer_optional(&self, column: &str) -> Result<Option<i64>, StoreError> {
        self.0
            .try_get(column)
            .map_err(|error| StoreError::unreadable(column, error))
    }

    /// A yes or no, kept as 1 or 0.
    pub(crate) fn flag(&self, column: &str) -> Result<bool, StoreError> {
        Ok(self.integer(column)? != 0)
    }

    /// An identifier, a name or an enumeration's word.
    pub(crate) fn parsed<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: FromStr<Err: Display>,
    {
        self.text(column)?
            .parse()
            .map_err(|reason| StoreError::unreadable(column, reason))
    }

    pub(crate) fn parsed_optional<T>(&self, column: &str) -> Result<Option<T>, StoreError>
    where
        T: FromStr<Err: Display>,
    {
        let text = self.text_optional(column)?;
        text.map(|text| text.parse().map_err(|reason| StoreError::unreadable(column, reason)))
            .transpose()
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?).map_err(|reason| StoreError::unreadable(column, reason))
    }
}

/// Reads the row, if there is one.
pub(crate) fn optional<T: FromRow>(row: Option<AnyRow>) -> Result<Option<T>, StoreError> {
    row.map(|row| T::from_row(&Fields(&row))).transpose()
}

/// Reads all rows.
pub(crate) fn all<T: FromRow>(rows: &[AnyRow]) -> Result<Vec<T>, StoreError> {
    rows.iter().map(|row| T::from_row(&Fields(row))).collect()
}

/// Who asked for what, by a key of the row; without those of whom that is not known.
pub(crate) fn askers<K>(
    rows: &[AnyRow],
    key: impl Fn(&Fields<'_>) -> Result<K, StoreError>,
) -> Result<Vec<(K, String)>, StoreError> {
    let mut askers = Vec::new();
    for row in rows.iter().map(Fields) {
        if let Some(asker) = row.text_optional("asked_by")? {
            askers.push((key(&row)?, asker));
        }
    }
    Ok(askers)
}

/// JSON text for a column.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Internal(error.to_string()))
}

/// Text without NUL, which PostgreSQL cannot keep; the output of builds may hold anything.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
