//! Tasks and their lines.

use sqlx::AnyConnection;
use weir_model::task::{LineKind, Task, TaskLine, TaskState};
use weir_model::{EnvironmentId, ProjectId, TaskId, UnixMillis};

use crate::row::{Fields, FromRow, all, optional, storable};
use crate::search::{Conditions, Value};
use crate::{Store, StoreError};

/// So many lines of a task are kept; of what follows only steps, errors and hints are, because
/// the end of a long build says why it failed.
pub const LINES_KEPT: i64 = 20_000;
/// So many steps, errors and hints are kept beyond.
const LINES_KEPT_BEYOND: i64 = 1_000;
/// Longest line, in bytes.
const LINE_BYTES: usize = 4096;
/// Ends a line that was longer.
const CUT: &str = " … (cut)";

/// Which tasks are looked for; every part narrows it.
#[derive(Debug, Clone, Default)]
pub struct TaskSearch {
    /// Only those that are older than this one, by when it was asked for.
    pub before: Option<(UnixMillis, TaskId)>,
    /// Only of the project that had this name when the task was asked for.
    pub project: Option<String>,
    /// Only of this environment.
    pub environment: Option<EnvironmentId>,
    /// Only in this state.
    pub state: Option<TaskState>,
    /// Only of projects that exist, in these accounts, projects and environments; `None`: of everything.
    pub within: Option<Vec<String>>,
    /// Most tasks.
    pub limit: i64,
}

impl TaskSearch {
    fn conditions(&self) -> Conditions {
        let mut conditions = Conditions::default();
        if let Some((created_ms, id)) = self.before {
            let at = conditions.place(Value::Number(created_ms));
            let id = conditions.place(Value::Text(id.to_string()));
            conditions.hold(format!("(created_ms < {at} OR (created_ms = {at} AND id < {id}))"));
        }
        conditions.is("project_name", self.project.as_deref().map(storable));
        conditions.is("environment_id", self.environment.map(|id| id.to_string()));
        conditions.is("state", self.state.map(|state| state.as_str().to_owned()));
        if let Some(within) = &self.within {
            let keys = conditions.keys(within);
            conditions.hold(format!(
                "EXISTS (SELECT 1 FROM projects WHERE projects.id = tasks.project_id
                    AND (projects.account_id IN ({keys}) OR projects.id IN ({keys}) OR tasks.environment_id IN ({keys})))"
            ));
        }
        conditions
    }
}

impl FromRow for Task {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            kind: row.parsed("kind")?,
            project: row.parsed("project_id")?,
            environment: row.parsed_optional("environment_id")?,
            title: row.text("title")?,
            state: row.parsed("state")?,
            step: row.text("step")?,
            error: row.text_optional("error")?,
            created_ms: row.integer("created_ms")?,
            ended_ms: row.integer_optional("ended_ms")?,
        })
    }
}

impl FromRow for TaskLine {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: row.integer("sequence")?,
            at_ms: row.integer("at_ms")?,
            kind: row.parsed("kind")?,
            text: row.text("line")?,
        })
    }
}

impl Store {
    /// Writes a task, with the name that its project has now.
    pub async fn task_insert(&self, task: &Task) -> Result<(), StoreError> {
        self.task_insert_for(task, None).await
    }

    /// The same, with the name of who asked for it.
    pub async fn task_insert_for(&self, task: &Task, asker: Option<&str>) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO tasks (id, kind, project_id, project_name, environment_id, title, state, step, error,
                created_ms, ended_ms, line_count, lines_left_out, asked_by)
             VALUES ($1, $2, $3, (SELECT name FROM projects WHERE projects.id = $3), $4, $5, $6, $7, $8, $9, $10, 0, 0, $11)",
        )
        .bind(task.id.to_string())
        .bind(task.kind.as_str())
        .bind(task.project.to_string())
        .bind(task.environment.map(|id| id.to_string()))
        .bind(storable(&task.title))
        .bind(task.state.as_str())
        .bind(storable(&task.step))
        .bind(task.error.as_deref().map(storable))
        .bind(task.created_ms)
        .bind(task.ended_ms)
        .bind(asker.map(storable))
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// The task of this identity.
    pub async fn task_by_id(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let query = sqlx::query("SELECT * FROM tasks WHERE id = $1").bind(id.to_string());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// The name that the project of a task had when the task was written; the project itself
    /// may be gone.
    pub async fn task_project_name(&self, id: TaskId) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT project_name FROM tasks WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.read())
            .await?;
        row.map_or(Ok(None), |row| Fields(&row).text_optional("project_name"))
    }

    /// The newest tasks, of one project or of all, newest first, at most `limit`.
    pub async fn task_list(&self, project: Option<ProjectId>, limit: i64) -> Result<Vec<Task>, StoreError> {
        let query = match project {
            Some(project) => {
                sqlx::query("SELECT * FROM tasks WHERE project_id = $1 ORDER BY created_ms DESC, id DESC LIMIT $2")
                    .bind(project.to_string())
            }
            None => sqlx::query("SELECT * FROM tasks ORDER BY created_ms DESC, id DESC LIMIT $1"),
        };
        all(&query.bind(limit.max(0)).fetch_all(self.read()).await?)
    }

    /// Tasks, newest first.
    pub async fn task_search(&self, search: &TaskSearch) -> Result<Vec<Task>, StoreError> {
        let rows = search
            .conditions()
            .rows(self.read(), ("tasks", "created_ms DESC, id DESC"), search.limit);
        all(&rows.await?)
    }

    /// The tasks that have not ended, oldest first.
    pub async fn task_list_unfinished(&self) -> Result<Vec<Task>, StoreError> {
        let query = sqlx::query("SELECT * FROM tasks WHERE state IN ('queued', 'running') ORDER BY created_ms, id");
        all(&query.fetch_all(self.read()).await?)
    }

    /// The tasks of an environment that have not ended, oldest first.
    pub async fn task_list_unfinished_of(&self, environment: EnvironmentId) -> Result<Vec<Task>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM tasks WHERE environment_id = $1 AND state IN ('queued', 'running') ORDER BY created_ms, id",
        )
        .bind(environment.to_string());
        all(&query.fetch_all(self.read()).await?)
    }

    /// What a task does now. Says whether it was so: one that has ended stays as it ended.
    /// `state` is `Queued` or `Running`.
    pub async fn task_set_step(&self, id: TaskId, state: TaskState, step: &str) -> Result<bool, StoreError> {
        if state.is_ended() {
            return Err(StoreError::Internal(format!(
                "a task ends by task_end, not by a step ({})",
                state.as_str()
            )));
        }
        let changed =
            sqlx::query("UPDATE tasks SET state = $2, step = $3 WHERE id = $1 AND state IN ('queued', 'running')")
                .bind(id.to_string())
                .bind(state.as_str())
                .bind(storable(step))
                .execute(self.write())
                .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// Compare-and-set: ends a task that has not ended. Says whether it did; of two who end it
    /// at once, one does. `state` is `Done`, `Failed` or `Superseded`.
    pub async fn task_end(
        &self,
        id: TaskId,
        state: TaskState,
        error: Option<&str>,
        now_ms: UnixMillis,
    ) -> Result<bool, StoreError> {
        if !state.is_ended() {
            return Err(StoreError::Internal(format!("a task cannot end as {}", state.as_str())));
        }
        let changed = sqlx::query(
            "UPDATE tasks SET state = $2, error = $3, ended_ms = $4 WHERE id = $1 AND state IN ('queued', 'running')",
        )
        .bind(id.to_string())
        .bind(state.as_str())
        .bind(error.map(storable))
        .bind(now_ms)
        .execute(self.write())
        .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// Adds lines to a task and returns those that were kept, with their sequences, which have
    /// no gaps. Of a task with [`LINES_KEPT`] lines only further steps, errors and hints are
    /// kept (1,000 at most), and one line says that the rest is left out. A line of more than
    /// 4 KiB is cut. `NotFound` if there is no such task.
    pub async fn task_lines_append(
        &self,
        id: TaskId,
        now_ms: UnixMillis,
        lines: &[(LineKind, String)],
    ) -> Result<Vec<TaskLine>, StoreError> {
        let mut transaction = self.begin().await?;
        // Locks the task's row, so that two who append get different sequences.
        let row =
            sqlx::query("UPDATE tasks SET line_count = line_count WHERE id = $1 RETURNING line_count, lines_left_out")
                .bind(id.to_string())
                .fetch_optional(&mut *transaction)
                .await?
                .ok_or_else(|| StoreError::NotFound(format!("the task {id}")))?;
        let row = Fields(&row);
        let mut log = Log {
            count: row.integer("line_count")?,
            left_out: row.integer("lines_left_out")?,
            kept: vec![],
        };
        for (kind, text) in lines {
            log.append(now_ms, *kind, text);
        }
        lines_insert_in_tx(&mut transaction, &id.to_string(), &log.kept).await?;
        sqlx::query("UPDATE tasks SET line_count = $2, lines_left_out = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(log.count)
            .bind(log.left_out)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(log.kept)
    }

    /// The lines of a task after a sequence, oldest first, at most `limit`.
    pub async fn task_lines(&self, id: TaskId, after_sequence: i64, limit: i64) -> Result<Vec<TaskLine>, StoreError> {
        let query =
            sqlx::query("SELECT * FROM task_lines WHERE task_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3")
                .bind(id.to_string())
                .bind(after_sequence)
                .bind(limit.max(0));
        all(&query.fetch_all(self.read()).await?)
    }

    /// The last lines of a task, oldest first, at most `limit`.
    pub async fn task_lines_last(&self, id: TaskId, limit: i64) -> Result<Vec<TaskLine>, StoreError> {
        let query = sqlx::query("SELECT * FROM task_lines WHERE task_id = $1 ORDER BY sequence DESC LIMIT $2")
            .bind(id.to_string())
            .bind(limit.max(0));
        let mut lines: Vec<TaskLine> = all(&query.fetch_all(self.read()).await?)?;
        lines.reverse();
        Ok(lines)
    }

    /// Removes tasks that ended before `before_ms`, with their lines, except the `keep_newest`
    /// newest tasks.
    pub async fn task_prune(&self, before_ms: UnixMillis, keep_newest: i64) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM tasks WHERE ended_ms < $1
             AND id NOT IN (SELECT id FROM tasks ORDER BY created_ms DESC, id DESC LIMIT $2)",
        )
        .bind(before_ms)
        .bind(keep_newest.max(0))
        .execute(self.write())
        .await?;
        Ok(())
    }
}

/// The log of a task while lines are added.
struct Log {
    /// How many lines it has; the last one's sequence.
    count: i64,
    /// How many lines were not kept.
    left_out: i64,
    /// The lines to be written.
    kept: Vec<TaskLine>,
}

impl Log {
    fn append(&mut self, now_ms: UnixMillis, kind: LineKind, text: &str) {
        let most = match kind {
            LineKind::Step | LineKind::Error | LineKind::Hint => LINES_KEPT + LINES_KEPT_BEYOND,
            LineKind::Info | LineKind::Output => LINES_KEPT,
        };
        if self.count < most {
            self.push(now_ms, kind, cut(&storable(text)));
            return;
        }
        if self.left_out == 0 {
            let text = format!("there are more than {LINES_KEPT} lines; further output is left out");
            self.push(now_ms, LineKind::Info, text);
        }
        self.left_out += 1;
    }

    fn push(&mut self, at_ms: UnixMillis, kind: LineKind, text: String) {
        self.count += 1;
        self.kept.push(TaskLine {
            sequence: self.count,
            at_ms,
            kind,
            text,
        });
    }
}

/// A text that fits, cut between characters.
fn cut(text: &str) -> String {
    if text.len() <= LINE_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(LINE_BYTES - CUT.len());
    format!("{}{CUT}", &text[..end])
}

const INSERT_LINE: &str = "INSERT INTO task_lines (task_id, sequence, at_ms, kind, line) VALUES ($1, $2, $3, $4, $5)";
const INSERT_EIGHT_LINES: &str = "INSERT INTO task_lines (task_id, sequence, at_ms, kind, line) VALUES
    ($1, $2, $3, $4, $5), ($1, $6, $7, $8, $9), ($1, $10, $11, $12, $13), ($1, $14, $15, $16, $17),
    ($1, $18, $19, $20, $21), ($1, $22, $23, $24, $25), ($1, $26, $27, $28, $29), ($1, $30, $31, $32, $33)";

/// Eight lines at a time where possible: most of the time is the way to the database and back.
async fn lines_insert_in_tx(connection: &mut AnyConnection, task: &str, lines: &[TaskLine]) -> Result<(), StoreError> {
    let (eights, rest) = lines.as_chunks::<8>();
    let eights = eights.iter().map(|lines| (INSERT_EIGHT_LINES, lines.as_slice()));
    let rest = rest.chunks(1).map(|line| (INSERT_LINE, line));
    for (statement, lines) in eights.chain(rest) {
        let mut query = sqlx::query(statement).bind(task);
        for line in lines {
            query = query
                .bind(line.sequence)
                .bind(line.at_ms)
                .bind(line.kind.as_str())
                .bind(&line.text);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
