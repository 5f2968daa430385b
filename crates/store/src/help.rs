//! What people ask those who run Weir, what they are answered, and the mail about it.

use std::fmt;
use std::str::FromStr;

use weir_model::{AccountId, EnvironmentId, HelpMailId, HelpMessageId, HelpRequestId, ProjectId, UnixMillis};

use crate::row::{Fields, FromRow, all, optional, storable};
use crate::{Store, StoreError};

/// A question, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelpRequest {
    /// Identity.
    pub id: HelpRequestId,
    /// One line for people.
    pub subject: String,
    /// What it is about, as people write it; empty for nothing in particular.
    pub scope: String,
    /// The account that it is about.
    pub account: Option<AccountId>,
    /// The project that it is about.
    pub project: Option<ProjectId>,
    /// The environment that it is about.
    pub environment: Option<EnvironmentId>,
    /// For whom it waits.
    pub state: HelpState,
    /// Identity of who asked.
    pub by: String,
    /// The name of who asked.
    pub by_name: String,
    /// When.
    pub created_ms: UnixMillis,
    /// When anything was last said or changed.
    pub updated_ms: UnixMillis,
    /// How things stood, as JSON.
    pub context: Option<String>,
}

/// For whom a question waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelpState {
    /// For an answer.
    Open,
    /// For who asked.
    Answered,
    /// For nobody.
    Closed,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelpMessage {
    /// Identity.
    pub id: HelpMessageId,
    /// To which question.
    pub request: HelpRequestId,
    /// When.
    pub at_ms: UnixMillis,
    /// Identity of who said it.
    pub by: String,
    /// The name of who said it.
    pub by_name: String,
    /// It is from whoever runs Weir.
    pub operator: bool,
    /// What.
    pub text: String,
}

/// A mail that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelpMail {
    /// Identity.
    pub id: HelpMailId,
    /// About which message.
    pub message: HelpMessageId,
    /// To whom.
    pub address: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub body: String,
    /// When it was handed in.
    pub created_ms: UnixMillis,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_ms: UnixMillis,
}

/// How much of something there may be.
#[derive(Debug, Clone, Copy)]
pub struct HelpBound {
    /// So many of one who asks …
    pub most: i64,
    /// … and so many about a project, or about an account and none of its projects, whoever they are from; what
    /// those say who run Weir does not count …
    pub most_of_place: i64,
    /// … since then.
    pub since_ms: UnixMillis,
}

/// What came of something that is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelpWritten {
    /// It is written.
    Done,
    /// There are so many already, of the same author or to the same question.
    TooMany,
    /// There are so many already about the same place.
    TooManyOfPlace,
    /// The question is gone, or was closed meanwhile.
    Gone,
}

/// Which questions are looked for.
#[derive(Debug, Clone)]
pub struct HelpSearch {
    /// Only in this state.
    pub state: Option<HelpState>,
    /// Only older than this one.
    pub before: Option<HelpRequestId>,
    /// Those that this one asked …
    pub by: String,
    /// … and those in these accounts, projects and environments, by identity; `None`: all.
    pub within: Option<Vec<String>>,
    /// Most of them.
    pub limit: i64,
}

impl fmt::Display for HelpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Closed => "closed",
        })
    }
}

impl FromStr for HelpState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::Open),
            "answered" => Ok(Self::Answered),
            "closed" => Ok(Self::Closed),
            _ => Err(format!("`{text}` is no state of a request for help")),
        }
    }
}

impl FromRow for HelpRequest {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            subject: row.text("subject")?,
            scope: row.text("scope")?,
            account: row.parsed_optional("account_id")?,
            project: row.parsed_optional("project_id")?,
            environment: row.parsed_optional("environment_id")?,
            state: row.parsed("state")?,
            by: row.text("by_id")?,
            by_name: row.text("by_name")?,
            created_ms: row.integer("created_ms")?,
            updated_ms: row.integer("updated_ms")?,
            context: row.text_optional("context")?,
        })
    }
}

impl FromRow for HelpMessage {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            request: row.parsed("request_id")?,
            at_ms: row.integer("at_ms")?,
            by: row.text("by_id")?,
            by_name: row.text("by_name")?,
            operator: row.flag("operator")?,
            text: row.text("text")?,
        })
    }
}

impl FromRow for HelpMail {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            message: row.parsed("message_id")?,
            address: row.text("address")?,
            subject: row.text("subject")?,
            body: row.text("body")?,
            created_ms: row.integer("created_ms")?,
            attempts: u32::try_from(row.integer("attempts")?).unwrap_or(u32::MAX),
            next_ms: row.integer("next_ms")?,
        })
    }
}

/// What was asked since. Nothing of that was touched before; so says the index.
const ASKED_OF_PROJECT: &str = "SELECT COUNT(*) AS number FROM help_requests
    WHERE state IN ('open', 'answered', 'closed') AND updated_ms > $2 AND created_ms > $2 AND project_id = $1";
const ASKED_OF_ACCOUNT: &str = "SELECT COUNT(*) AS number FROM help_requests
    WHERE state IN ('open', 'answered', 'closed') AND updated_ms > $2 AND created_ms > $2
        AND account_id = $1 AND project_id IS NULL";
/// What was said since to questions about the same as one of them.
const SAID_OF_PLACE: &str = "SELECT COUNT(*) AS number FROM help_requests own
    JOIN help_requests asked ON asked.state IN ('open', 'answered', 'closed') AND asked.updated_ms > $2
        AND (asked.project_id = own.project_id
            OR (asked.account_id = own.account_id AND asked.project_id IS NULL AND own.project_id IS NULL))
    JOIN help_messages said ON said.request_id = asked.id AND said.at_ms > $2 AND said.operator = 0
    WHERE own.id = $1";

/// Locks what bounds are counted by, until the commit.
async fn lock_in_tx(connection: &mut sqlx::AnyConnection) -> Result<(), StoreError> {
    sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'help'")
        .execute(connection)
        .await?;
    Ok(())
}

async fn count_in_tx(
    connection: &mut sqlx::AnyConnection,
    statement: &'static str,
    whose: &str,
    since_ms: UnixMillis,
) -> Result<i64, StoreError> {
    let query = sqlx::query(statement).bind(whose.to_owned()).bind(since_ms);
    Fields(&query.fetch_one(connection).await?).integer("number")
}

async fn write_in_tx(
    connection: &mut sqlx::AnyConnection,
    message: &HelpMessage,
    mails: &[HelpMail],
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO help_messages (id, request_id, at_ms, by_id, by_name, operator, text)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(message.id.to_string())
    .bind(message.request.to_string())
    .bind(message.at_ms)
    .bind(&message.by)
    .bind(storable(&message.by_name))
    .bind(i64::from(message.operator))
    .bind(storable(&message.text))
    .execute(&mut *connection)
    .await?;
    for mail in mails {
        sqlx::query(
            "INSERT INTO help_mails (id, message_id, address, subject, body, created_ms, attempts, next_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(mail.id.to_string())
        .bind(mail.message.to_string())
        .bind(&mail.address)
        .bind(storable(&mail.subject))
        .bind(storable(&mail.body))
        .bind(mail.created_ms)
        .bind(i64::from(mail.attempts))
        .bind(mail.next_ms)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

impl Store {
    /// Writes a question with its first message and the mail about it, unless the one who asks has asked so
    /// often already.
    pub async fn help_insert(
        &self,
        request: &HelpRequest,
        message: &HelpMessage,
        mails: &[HelpMail],
        bound: HelpBound,
    ) -> Result<HelpWritten, StoreError> {
        let mut transaction = self.begin().await?;
        lock_in_tx(&mut transaction).await?;
        let asked = "SELECT COUNT(*) AS number FROM help_requests WHERE by_id = $1 AND created_ms > $2";
        if count_in_tx(&mut transaction, asked, &request.by, bound.since_ms).await? >= bound.most {
            return Ok(HelpWritten::TooMany);
        }
        let place = match (request.project, request.account) {
            (Some(project), _) => Some((ASKED_OF_PROJECT, project.to_string())),
            (None, Some(account)) => Some((ASKED_OF_ACCOUNT, account.to_string())),
            (None, None) => None,
        };
        if let Some((asked, place)) = place
            && count_in_tx(&mut transaction, asked, &place, bound.since_ms).await? >= bound.most_of_place
        {
            return Ok(HelpWritten::TooManyOfPlace);
        }
        sqlx::query(
            "INSERT INTO help_requests (id, subject, scope, account_id, project_id, environment_id, state, by_id, by_name,
                created_ms, updated_ms, context)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(request.id.to_string())
        .bind(storable(&request.subject))
        .bind(&request.scope)
        .bind(request.account.map(|id| id.to_string()))
        .bind(request.project.map(|id| id.to_string()))
        .bind(request.environment.map(|id| id.to_string()))
        .bind(request.state.to_string())
        .bind(&request.by)
        .bind(storable(&request.by_name))
        .bind(request.created_ms)
        .bind(request.updated_ms)
        .bind(request.context.as_deref().map(storable))
        .execute(&mut *transaction)
        .await?;
        write_in_tx(&mut transaction, message, mails).await?;
        transaction.commit().await?;
        Ok(HelpWritten::Done)
    }

    /// Adds a message to a question that is not closed, with the mail about it, and says for whom it waits
    /// then; unless its author has said so much already, or the question has `most` messages.
    pub async fn help_say(
        &self,
        message: &HelpMessage,
        mails: &[HelpMail],
        state: HelpState,
        bound: HelpBound,
        most: i64,
    ) -> Result<HelpWritten, StoreError> {
        let mut transaction = self.begin().await?;
        lock_in_tx(&mut transaction).await?;
        let said = "SELECT COUNT(*) AS number FROM help_messages WHERE by_id = $1 AND at_ms > $2";
        let of_author = count_in_tx(&mut transaction, said, &message.by, bound.since_ms).await?;
        let there = "SELECT COUNT(*) AS number FROM help_messages WHERE request_id = $1 AND at_ms > $2";
        let request = message.request.to_string();
        let of_request = count_in_tx(&mut transaction, there, &request, UnixMillis::MIN).await?;
        if of_author >= bound.most || of_request >= most {
            return Ok(HelpWritten::TooMany);
        }
        if !message.operator
            && count_in_tx(&mut transaction, SAID_OF_PLACE, &request, bound.since_ms).await? >= bound.most_of_place
        {
            return Ok(HelpWritten::TooManyOfPlace);
        }
        let changed =
            sqlx::query("UPDATE help_requests SET state = $2, updated_ms = $3 WHERE id = $1 AND state <> 'closed'")
                .bind(request)
                .bind(state.to_string())
                .bind(message.at_ms)
                .execute(&mut *transaction)
                .await?;
        if changed.rows_affected() == 0 {
            return Ok(HelpWritten::Gone);
        }
        write_in_tx(&mut transaction, message, mails).await?;
        transaction.commit().await?;
        Ok(HelpWritten::Done)
    }

    /// Closes a question, or opens it again. Says whether it is there.
    pub async fn help_set_state(
        &self,
        id: HelpRequestId,
        state: HelpState,
        now_ms: UnixMillis,
    ) -> Result<bool, StoreError> {
        let changed = sqlx::query("UPDATE help_requests SET state = $2, updated_ms = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(state.to_string())
            .bind(now_ms)
            .execute(self.write())
            .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// A question.
    pub async fn help_by_id(&self, id: HelpRequestId) -> Result<Option<HelpRequest>, StoreError> {
        let query = sqlx::query("SELECT * FROM help_requests WHERE id = $1").bind(id.to_string());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// Questions, newest first, each without how things stood.
    pub async fn help_list(&self, search: &HelpSearch) -> Result<Vec<HelpRequest>, StoreError> {
        let mut values = vec![search.by.clone()];
        let mut place = |value: String| {
            values.push(value);
            format!("${}", values.len())
        };
        let mut conditions = Vec::new();
        if let Some(state) = search.state {
            conditions.push(format!("state = {}", place(state.to_string())));
        }
        if let Some(before) = search.before {
            conditions.push(format!("id < {}", place(before.to_string())));
        }
        let keys = search.within.iter().flatten().map(|key| place(key.clone()));
        let keys = keys.collect::<Vec<_>>().join(", ");
        conditions.push(match &search.within {
            // The first value has to be somewhere.
            None => "(by_id = $1 OR TRUE)".to_owned(),
            Some(within) if within.is_empty() => "by_id = $1".to_owned(),
            Some(_) => format!(
                "(by_id = $1 OR account_id IN ({keys}) OR project_id IN ({keys}) OR environment_id IN ({keys}))"
            ),
        });
        let statement = format!(
            "SELECT id, subject, scope, account_id, project_id, environment_id, state, by_id, by_name, created_ms,
                updated_ms, NULL AS context
             FROM help_requests WHERE {} ORDER BY id DESC LIMIT {}",
            conditions.join(" AND "),
            search.limit.max(0)
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
        for value in values {
            query = query.bind(value);
        }
        all(&query.fetch_all(self.read()).await?)
    }

    /// What was said to a question, oldest first.
    pub async fn help_messages(&self, request: HelpRequestId) -> Result<Vec<HelpMessage>, StoreError> {
        let query = sqlx::query("SELECT * FROM help_messages WHERE request_id = $1 ORDER BY at_ms, id");
        all(&query.bind(request.to_string()).fetch_all(self.read()).await?)
    }

    /// Mail that is to be sent now, oldest first.
    pub async fn help_mail_due(&self, now_ms: UnixMillis, limit: i64) -> Result<Vec<HelpMail>, StoreError> {
        let query = sqlx::query("SELECT * FROM help_mails WHERE next_ms <= $1 ORDER BY next_ms, id LIMIT $2");
        all(&query.bind(now_ms).bind(limit.max(0)).fetch_all(self.read()).await?)
    }

    /// Mail was not taken; it is tried again then.
    pub async fn help_mail_later(&self, id: HelpMailId, next_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("UPDATE help_mails SET attempts = attempts + 1, next_ms = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(next_ms)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Mail was sent, or is given up.
    pub async fn help_mail_delete(&self, id: HelpMailId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM help_mails WHERE id = $1")
            .bind(id.to_string())
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Removes questions that are closed, or answered, and untouched since an instant.
    pub async fn help_prune(&self, before_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM help_requests WHERE state <> 'open' AND updated_ms < $1")
            .bind(before_ms)
            .execute(self.write())
            .await?;
        Ok(())
    }
}
