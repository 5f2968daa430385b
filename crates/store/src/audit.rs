//! What was done, by whom, from where. Rows are only added; the database itself refuses to change
//! them, and to remove one before its time.

use weir_model::policy::Place;
use weir_model::{AccountId, EnvironmentId, ProjectId, UnixMillis};

use crate::row::{Fields, FromRow, all, storable};
use crate::{Store, StoreError};

/// Longest text of a column, in characters; more is cut.
const LONGEST: usize = 400;

/// Something that was done, or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Given by the store; rises.
    pub sequence: i64,
    /// When.
    pub at_ms: UnixMillis,
    /// `person`, `token`, `service-account` or `unknown`.
    pub who_kind: String,
    /// Identity of who it was.
    pub who_id: Option<String>,
    /// Their name: a mail address, a token's name.
    pub who: String,
    /// As what they did it: `developer`.
    pub role: String,
    /// From where.
    pub address: String,
    /// With what, as it says itself.
    pub agent: String,
    /// Method of the request.
    pub method: String,
    /// Path of the request, with `{…}` where something stands.
    pub route: String,
    /// Where, as people write it: `weir`, `account:default`, `shop`, `shop/staging`.
    pub scope: String,
    /// Where.
    pub place: AuditPlace,
    /// What it was about besides: a host, the identity of a token.
    pub target: String,
    /// Status of the answer.
    pub status: i64,
    /// Identity of the request, as in the header of the answer.
    pub request: String,
    /// What is worth knowing besides; never a secret.
    pub detail: String,
}

/// Where something was done, by identity; what it names may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditPlace {
    /// The account, unless it concerns the whole Weir.
    pub account: Option<AccountId>,
    /// The project, if it was in one.
    pub project: Option<ProjectId>,
    /// The environment, if it was in one.
    pub environment: Option<EnvironmentId>,
}

impl From<Place> for AuditPlace {
    fn from(place: Place) -> Self {
        Self {
            account: place.account(),
            project: place.project(),
            environment: place.environment(),
        }
    }
}

/// What is looked for; every part narrows it.
#[derive(Debug, Clone, Default)]
pub struct AuditSearch {
    /// Only before this sequence.
    pub before: Option<i64>,
    /// Not before this instant.
    pub since_ms: Option<UnixMillis>,
    /// Before this instant.
    pub until_ms: Option<UnixMillis>,
    /// Part of the name of who it was, or their identity.
    pub who: Option<String>,
    /// Part of `METHOD /route`.
    pub route: Option<String>,
    /// As people write it; what is in it counts too.
    pub scope: Option<String>,
    /// Part of any text.
    pub text: Option<String>,
    /// Only in these accounts and projects and environments; `None` everywhere.
    pub within: Option<Vec<String>>,
    /// Most entries.
    pub limit: i64,
}

impl FromRow for AuditEntry {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: row.integer("sequence")?,
            at_ms: row.integer("at_ms")?,
            who_kind: row.text("who_kind")?,
            who_id: row.text_optional("who_id")?,
            who: row.text("who")?,
            role: row.text("role")?,
            address: row.text("address")?,
            agent: row.text("agent")?,
            method: row.text("method")?,
            route: row.text("route")?,
            scope: row.text("scope")?,
            place: AuditPlace {
                account: row.parsed_optional("account_id")?,
                project: row.parsed_optional("project_id")?,
                environment: row.parsed_optional("environment_id")?,
            },
            target: row.text("target")?,
            status: row.integer("status")?,
            request: row.text("request")?,
            detail: row.text("detail")?,
        })
    }
}

fn short(text: &str) -> String {
    storable(&text.chars().take(LONGEST).collect::<String>())
}

/// In lower case, each character by itself, so that a part of a text folds as it does within the whole.
/// Databases fold ASCII only, or as the machine's language has it.
fn folded(text: &str) -> String {
    // Over upper case, so that letters with two small forms (ς, σ) are one.
    let upper = storable(text).to_uppercase();
    upper.chars().flat_map(char::to_lowercase).collect()
}

/// A pattern for LIKE that matches what contains the text, folded.
fn containing(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for character in folded(text).chars().take(LONGEST) {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern + "%"
}

/// A value of a statement that is put together; texts of people are only ever values.
enum Value {
    Number(i64),
    Text(String),
}

fn statement_of(search: &AuditSearch) -> (String, Vec<Value>) {
    let mut values = Vec::new();
    let mut place = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    let mut conditions = vec![format!(
        "sequence < {}",
        place(Value::Number(search.before.unwrap_or(i64::MAX)))
    )];
    if let Some(since_ms) = search.since_ms {
        conditions.push(format!("at_ms >= {}", place(Value::Number(since_ms))));
    }
    if let Some(until_ms) = search.until_ms {
        conditions.push(format!("at_ms < {}", place(Value::Number(until_ms))));
    }
    let mut like =
        |what: &str, pattern: String| format!("LOWER({what}) LIKE {} ESCAPE '\\'", place(Value::Text(pattern)));
    // Entries of before nothing was folded are folded by the database, as well as it can.
    let mut like_folded = |column: &str, what: &str, text: &str| {
        like(
            &format!("CASE {column} WHEN '' THEN {what} ELSE {column} END"),
            containing(text),
        )
    };
    if let Some(who) = &search.who {
        conditions.push(like_folded("who_folded", "COALESCE(who_id, '') || ' ' || who", who));
    }
    if let Some(text) = &search.text {
        let everything = "who || ' ' || address || ' ' || method || ' ' || route || ' ' || scope || ' ' || target
            || ' ' || request || ' ' || detail";
        conditions.push(like_folded("text_folded", everything, text));
    }
    if let Some(route) = &search.route {
        conditions.push(like("method || ' ' || route", containing(route)));
    }
    if let Some(scope) = &search.scope {
        // What is in it begins with its name and a slash.
        let inside = containing(&format!("{scope}/"));
        conditions.push(like("scope || '/'", inside[1..].to_owned()));
    }
    if let Some(within) = &search.within {
        let keys: Vec<String> = within.iter().map(|key| place(Value::Text(key.clone()))).collect();
        let keys = if keys.is_empty() {
            "''".to_owned()
        } else {
            keys.join(", ")
        };
        conditions.push(format!(
            "(account_id IN ({keys}) OR project_id IN ({keys}) OR environment_id IN ({keys}))"
        ));
    }
    let limit = place(Value::Number(search.limit.max(0)));
    let statement = format!(
        "SELECT * FROM audit_entries WHERE {} ORDER BY sequence DESC LIMIT {limit}",
        conditions.join(" AND ")
    );
    (statement, values)
}

/// All texts of an entry in which is looked for a part.
fn everything_of(entry: &AuditEntry) -> String {
    let texts = [
        &entry.who,
        &entry.address,
        &entry.method,
        &entry.route,
        &entry.scope,
        &entry.target,
        &entry.request,
        &entry.detail,
    ];
    texts.map(|text| short(text)).join(" ")
}

impl Store {
    /// Adds an entry; its sequence is given here. The answer is the sequence.
    pub async fn audit_insert(&self, entry: &AuditEntry) -> Result<i64, StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'audit'")
            .execute(&mut *transaction)
            .await?;
        let row = sqlx::query("SELECT value FROM counters WHERE name = 'audit'")
            .fetch_one(&mut *transaction)
            .await?;
        let sequence = Fields(&row).integer("value")?;
        sqlx::query(
            "INSERT INTO audit_entries (sequence, at_ms, who_kind, who_id, who, role, address, agent, method, route,
                scope, account_id, project_id, environment_id, target, status, request, detail, who_folded, text_folded)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
        )
        .bind(sequence)
        .bind(entry.at_ms)
        .bind(short(&entry.who_kind))
        .bind(entry.who_id.as_deref())
        .bind(short(&entry.who))
        .bind(short(&entry.role))
        .bind(short(&entry.address))
        .bind(short(&entry.agent))
        .bind(short(&entry.method))
        .bind(short(&entry.route))
        .bind(short(&entry.scope))
        .bind(entry.place.account.map(|id| id.to_string()))
        .bind(entry.place.project.map(|id| id.to_string()))
        .bind(entry.place.environment.map(|id| id.to_string()))
        .bind(short(&entry.target))
        .bind(entry.status)
        .bind(short(&entry.request))
        .bind(short(&entry.detail))
        .bind(folded(&format!(
            "{} {}",
            entry.who_id.as_deref().unwrap_or_default(),
            short(&entry.who)
        )))
        .bind(folded(&everything_of(entry)))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(sequence)
    }

    /// Entries, newest first.
    pub async fn audit_list(&self, search: &AuditSearch) -> Result<Vec<AuditEntry>, StoreError> {
        let (statement, values) = statement_of(search);
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
        for value in values {
            query = match value {
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
            };
        }
        all(&query.fetch_all(self.read()).await?)
    }

    /// Removes entries of before an instant; the database refuses what is younger than 13 months.
    pub async fn audit_prune(&self, before_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM audit_entries WHERE at_ms < $1")
            .bind(before_ms)
            .execute(self.write())
            .await?;
        Ok(())
    }
}
