//! What a push does: control's end of the hooks. It decides which references deploy, runs the
//! pushes, and answers with the lines that the person sees.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::StreamExt;
use http::StatusCode;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use weir_model::TaskId;
use weir_model::canary::Canary;
use weir_model::project::{Environment, EnvironmentMode, Project};
use weir_model::release::ReleaseSource;
use weir_model::task::{LineKind, TaskKind};

use super::hook::{HookAnswer, HookEnd, HookRequest, ReferenceChange};
use super::options;
use super::source::{Commit, Quarantine};
use super::{git, run_git};
use crate::asker;
use crate::context::Context;
use crate::push::{self, Live, Material, PushError, PushOrder, Turn};
use crate::secrets::{hex, random_bytes};
use crate::tasks::TaskEvent;

/// Lines that may wait for the hook.
const LINES: usize = 256;
/// Longest wait for the last lines of a task.
const LAST_LINES: std::time::Duration = std::time::Duration::from_secs(3);

/// One `git push`, from the first byte to the end of git's process.
#[derive(Debug)]
pub(super) struct Session {
    /// Known to the hooks of this push only.
    pub(super) key: String,
    pub(super) project: Project,
    pub(super) repository: PathBuf,
    /// Name of the token.
    pub(super) pusher: String,
    /// Cancelled when the client went away.
    pub(super) gone: CancellationToken,
    /// Made if several branches deploy: then each is decided by its own hook.
    pub(super) one_by_one: PathBuf,
    /// `None` once git's process has ended. Until then the next push must wait: git moves the
    /// branch after the hook.
    turns: Mutex<Option<Vec<Turn>>>,
}

impl Session {
    pub(super) fn new(context: &Context, project: Project, repository: PathBuf, pusher: String) -> Self {
        let one_by_one = context
            .config
            .data
            .join("run")
            .join(format!("push-{}", hex(&random_bytes::<8>())));
        Self {
            key: hex(&random_bytes::<32>()),
            project,
            repository,
            pusher,
            gone: CancellationToken::new(),
            one_by_one,
            turns: Mutex::new(Some(Vec::new())),
        }
    }

    fn keep(&self, turn: Turn) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = turns.as_mut() {
            turns.push(turn);
        }
    }

    /// Git's process has ended: those who wait go on.
    pub(super) fn end(&self) {
        self.gone.cancel();
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(turns);
        // Only there if several branches deployed.
        let _ = std::fs::remove_file(&self.one_by_one);
    }
}

/// `POST /hook/pre-receive` and `POST /hook/update`, for the Unix socket only.
pub fn hook_router(context: Context) -> Router {
    Router::new()
        .route("/hook/pre-receive", post(pre_receive))
        .route("/hook/update", post(update))
        .with_state(context)
}

async fn pre_receive(State(context): State<Context>, Json(request): Json<HookRequest>) -> Response {
    answer(context, request, Hook::PreReceive)
}

async fn update(State(context): State<Context>, Json(request): Json<HookRequest>) -> Response {
    answer(context, request, Hook::Update)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    /// Once, for all references, while the objects are in quarantine.
    PreReceive,
    /// For each reference, if `pre-receive` asked for it.
    Update,
}

fn answer(context: Context, request: HookRequest, hook: Hook) -> Response {
    let Some(session) = context.pushes.sessions.get(&request.key) else {
        return (StatusCode::FORBIDDEN, "no such push").into_response();
    };
    let (sender, answers) = mpsc::channel(LINES);
    let span = tracing::info_span!("push", project.name = %session.project.name);
    // A task of its own: once the deployment is written down, the push goes on without the hook.
    tokio::spawn(
        async move {
            let lines = Lines(sender.clone());
            let cancel = session.gone.child_token();
            let hook_gone = {
                let sender = sender.clone();
                async move { sender.closed().await }
            };
            let guard = cancel.clone();
            let decide = decide(&context, &session, request, hook, &lines, &cancel);
            tokio::pin!(decide);
            let end = tokio::select! {
                end = &mut decide => end,
                () = hook_gone => {
                    guard.cancel();
                    decide.await
                }
            };
            let _ = sender.send(HookAnswer::End(end)).await;
        }
        .instrument(span),
    );
    let stream = futures_util::stream::unfold(answers, |mut answers| async move {
        let answer: HookAnswer = answers.recv().await?;
        let mut line = serde_json::to_vec(&answer).unwrap_or_default();
        line.push(b'\n');
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(line)), answers))
    });
    Response::new(Body::from_stream(stream))
}

/// Where lines for the person go; nowhere once the hook is gone.
struct Lines(mpsc::Sender<HookAnswer>);

impl Lines {
    async fn say(&self, kind: LineKind, text: &str) {
        self.raw(&push::line_for_terminal(kind, text)).await;
    }

    async fn raw(&self, text: &str) {
        let _ = self.0.send(HookAnswer::Line(without_control(text))).await;
    }
}

/// What one reference of a push means.
enum Meaning<'a> {
    /// It is followed by an environment, which is to run it.
    Deploy(&'a Environment),
    /// It is followed by an environment and would be deleted.
    DeleteFollowed(&'a Environment),
    /// It is kept; the words say so.
    Keep(Option<String>),
}

fn meaning<'a>(change: &ReferenceChange, environments: &'a [Environment]) -> Meaning<'a> {
    let deleted = is_zero(&change.new);
    if let Some(tag) = change.name.strip_prefix("refs/tags/") {
        return Meaning::Keep(Some(format!("Tag {tag} {}", if deleted { "deleted" } else { "kept" })));
    }
    let Some(branch) = change.name.strip_prefix("refs/heads/") else {
        return Meaning::Keep(None);
    };
    match environments
        .iter()
        .find(|environment| environment.branch.as_deref() == Some(branch))
    {
        Some(environment) if deleted => Meaning::DeleteFollowed(environment),
        Some(environment) => Meaning::Deploy(environment),
        None if deleted => Meaning::Keep(Some(format!("Branch {branch} deleted"))),
        None => Meaning::Keep(Some(unfollowed(branch, environments))),
    }
}

/// What to do about a branch that no environment follows.
fn unfollowed(branch: &str, environments: &[Environment]) -> String {
    let mut words = format!("Branch {branch} kept. No environment follows it, so nothing is deployed.");
    let production = environments.iter().find(|environment| environment.name.is_production());
    if let Some(Some(followed)) = production.map(|environment| environment.branch.as_deref()) {
        words.push_str(&format!(
            "\n       To deploy it to production, which follows {followed}:\n         \
             git push weir {branch}:{followed}\n       or, from now on:\n         \
             weir env set-branch production {branch}, then push it again after another commit"
        ));
    }
    let name: String = branch
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    let name: String = name.trim_matches('-').chars().take(30).collect();
    if !environments.iter().any(|environment| environment.name.as_str() == name) {
        words.push_str(&format!(
            "\n       To give it an environment of its own:\n         \
             weir env create {name} --branch {branch}, then weir deploy --env {name}"
        ));
    }
    words
}

async fn decide(
    context: &Context,
    session: &Session,
    request: HookRequest,
    hook: Hook,
    lines: &Lines,
    cancel: &CancellationToken,
) -> HookEnd {
    match try_decide(context, session, request, hook, lines, cancel).await {
        Ok(end) => end,
        Err(error) => {
            lines.say(LineKind::Error, &error.message).await;
            if let Some(hint) = &error.hint {
                lines.say(LineKind::Hint, hint).await;
            }
            HookEnd::Rejected
        }
    }
}

async fn try_decide(
    context: &Context,
    session: &Session,
    request: HookRequest,
    hook: Hook,
    lines: &Lines,
    cancel: &CancellationToken,
) -> Result<HookEnd, PushError> {
    check(&request)?;
    let environments = context.store.environment_list(session.project.id).await?;
    let mut deploys = BTreeMap::new();
    for change in &request.references {
        match meaning(change, &environments) {
            Meaning::Deploy(environment) => drop(deploys.insert(environment.id, (environment, change))),
            Meaning::DeleteFollowed(environment) => {
                let branch = environment.branch.as_deref().unwrap_or_default();
                let name = &environment.name;
                return Err(PushError::new(format!(
                    "the branch `{branch}` is followed by the environment `{name}` and cannot be deleted"
                ))
                .with_hint(format!(
                    "let it follow another branch first: `weir env set-branch {name} BRANCH`"
                )));
            }
            Meaning::Keep(Some(words)) if hook == Hook::PreReceive => lines.say(LineKind::Step, &words).await,
            Meaning::Keep(_) => {}
        }
    }
    if hook == Hook::PreReceive && deploys.len() > 1 {
        if !request.options.is_empty() {
            let error = PushError::new("options are for the push of one branch, and this one deploys several");
            return Err(error.with_hint("push the branches one by one"));
        }
        let text = format!("{} branches are deployed, one after another", deploys.len());
        lines.say(LineKind::Step, &text).await;
        tokio::fs::write(&session.one_by_one, b"").await?;
        return Ok(HookEnd::Accepted);
    }
    let canary = options::canary(&request.options)?;
    if canary.is_some() && hook == Hook::PreReceive {
        for (environment, _) in deploys.values() {
            // Before minutes of building.
            crate::canary::ensure_possible(context, environment, None).await?;
        }
    }
    let quarantine = quarantine(session, &request);
    for (environment, change) in deploys.into_values() {
        let commit = Commit {
            config: context.config.clone(),
            repository: session.repository.clone(),
            id: change.new.clone(),
            quarantine: quarantine.clone(),
        };
        let push = Push {
            context,
            session,
            environment,
            change,
            commit,
            canary: canary.clone(),
        };
        if push.run(lines, cancel).await == HookEnd::Rejected {
            return Ok(HookEnd::Rejected);
        }
    }
    Ok(HookEnd::Accepted)
}

/// What git says to its hooks has this form; nothing else goes into arguments of git.
fn check(request: &HookRequest) -> Result<(), PushError> {
    let id = |text: &str| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let sound = |change: &ReferenceChange| {
        id(&change.old)
            && id(&change.new)
            && change.name.starts_with("refs/")
            && !change.name.contains(char::is_control)
    };
    match request.references.iter().all(sound) {
        true => Ok(()),
        false => Err(PushError::new("the names of branches and tags cannot be understood")),
    }
}

fn quarantine(session: &Session, request: &HookRequest) -> Option<Quarantine> {
    let own = session.repository.join("objects");
    let objects = session.repository.join(request.objects.as_ref()?);
    // Objects are only ever read from inside of the repository that is pushed to.
    let inside = objects.starts_with(&own) && !objects.components().any(|part| part == std::path::Component::ParentDir);
    let alternates = request.alternates.clone().unwrap_or_else(|| own.display().to_string());
    inside.then_some(Quarantine { objects, alternates })
}

fn is_zero(id: &str) -> bool {
    id.bytes().all(|byte| byte == b'0')
}

/// The push of one branch to the environment that follows it.
struct Push<'a> {
    context: &'a Context,
    session: &'a Session,
    environment: &'a Environment,
    change: &'a ReferenceChange,
    commit: Commit,
    canary: Option<Canary>,
}

impl Push<'_> {
    async fn run(&self, lines: &Lines, cancel: &CancellationToken) -> HookEnd {
        let (environment, session) = (self.environment, self.session);
        let prepared = async {
            let message = self.commit.message().await?;
            let branch = environment.branch.clone().unwrap_or_default();
            let short = self.short();
            let title = format!(
                "push of {branch} {short} to {} ({}): {message}",
                session.project.name, environment.name
            );
            let tasks = &self.context.tasks;
            let task = tasks.create(TaskKind::Push, session.project.id, Some(environment.id), &title);
            let task = asker::on_behalf_of(session.pusher.clone(), task).await?;
            Ok::<_, PushError>((
                task.id,
                ReleaseSource::Push {
                    commit: self.commit.id.clone(),
                    branch,
                    message,
                },
            ))
        };
        let (task, source) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => return self.rejected(lines, Some(&error)).await,
        };
        let forward = forward(self.context, task, lines);
        let work = self.work(task, source, cancel);
        tokio::pin!(forward);
        tokio::pin!(work);
        let (result, shown) = tokio::select! {
            result = &mut work => {
                // The task's last lines may still be on their way.
                let shown = tokio::time::timeout(LAST_LINES, &mut forward).await.is_ok();
                (result, shown)
            }
            () = &mut forward => (work.await, true),
        };
        match result {
            Ok(live) => {
                for line in push::summary(self.context, &session.project, environment, &live).await {
                    lines.raw(&line).await;
                }
                HookEnd::Accepted
            }
            Err(error) => self.rejected(lines, (!shown).then_some(&error)).await,
        }
    }

    /// Waits for its turn, then builds and deploys. Whatever happens, the task has ended after.
    async fn work(&self, task: TaskId, source: ReleaseSource, cancel: &CancellationToken) -> Result<Live, PushError> {
        let label = format!("the push of {} by {}", self.short(), self.session.pusher);
        let wait = self
            .context
            .pushes
            .take_turn(self.context, self.environment.id, task, &label);
        let turn = tokio::select! {
            turn = wait => Ok(turn),
            () = cancel.cancelled() => Err(PushError::new("the push was broken off while it waited")),
            () = self.context.stop.cancelled() => Err(PushError::new("Weir was stopped").with_hint("push again once it is back")),
        };
        let prepared = async {
            let turn = turn?;
            let environment = self.check_still_possible().await?;
            Ok::<_, PushError>((turn, environment))
        };
        let (turn, environment) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => {
                push::fail(self.context, task, &error).await;
                return Err(error);
            }
        };
        let order = PushOrder {
            project: self.session.project.clone(),
            environment,
            material: Material::Commit(self.commit.clone()),
            source,
            canary: self.canary.clone(),
            task,
        };
        let result = push::run(self.context, order, &turn, cancel).await;
        if result.is_ok() {
            self.session.keep(turn);
        }
        result
    }

    /// After a wait the world may have changed: git would refuse to move the branch later, and
    /// what git will refuse must not be deployed.
    async fn check_still_possible(&self) -> Result<Environment, PushError> {
        let environment = push::current(self.context, self.environment).await?;
        let branch = self.environment.branch.as_deref().unwrap_or_default();
        if environment.branch.as_deref() != Some(branch) {
            return Err(PushError::new(format!(
                "the environment `{}` follows another branch now",
                environment.name
            )));
        }
        let name = format!("{}^{{}}", self.change.name);
        let command = git(
            &self.context.config,
            &self.session.repository,
            &["rev-parse", "--verify", "--quiet", &name],
        );
        // Fails where there is no such branch.
        let now = run_git(command, "rev-parse")
            .await
            .map(|output| String::from_utf8_lossy(&output).trim().to_owned());
        let moved = match now {
            Ok(now) => now != self.change.old,
            Err(super::GitError::Failed { .. }) => !is_zero(&self.change.old),
            Err(error) => return Err(error.into()),
        };
        if moved {
            return Err(
                PushError::new(format!("the branch `{branch}` moved while this push waited"))
                    .with_hint("fetch and push again: `git pull --rebase`, then `git push`"),
            );
        }
        Ok(environment)
    }

    async fn rejected(&self, lines: &Lines, error: Option<&PushError>) -> HookEnd {
        if let Some(error) = error {
            lines.say(LineKind::Error, &error.message).await;
            if let Some(hint) = &error.hint {
                lines.say(LineKind::Hint, hint).await;
            }
        }
        let text = match self.environment.live {
            Some(_) if self.environment.mode == EnvironmentMode::Paused => "The push was rejected; nothing was changed",
            Some(_) => "The push was rejected; what ran before still runs",
            None => "The push was rejected; nothing was deployed",
        };
        lines.say(LineKind::Error, text).await;
        HookEnd::Rejected
    }

    fn short(&self) -> &str {
        &self.commit.id[..7.min(self.commit.id.len())]
    }
}

/// Shows the lines of a task until it ends. Hints come behind the error that they belong to.
async fn forward(context: &Context, task: TaskId, lines: &Lines) {
    let events = context.tasks.follow(task, 0);
    tokio::pin!(events);
    let mut hints = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            TaskEvent::Line(line) if line.kind == LineKind::Hint => hints.push(line.text),
            TaskEvent::Line(line) => {
                if line.kind != LineKind::Error {
                    say_all(lines, &mut hints).await;
                }
                lines.say(line.kind, &line.text).await;
            }
            TaskEvent::End(_) | TaskEvent::Lost => break,
        }
    }
    say_all(lines, &mut hints).await;
}

async fn say_all(lines: &Lines, hints: &mut Vec<String>) {
    for hint in hints.drain(..) {
        lines.say(LineKind::Hint, &hint).await;
    }
}

/// A line without colours and other orders to the terminal: it is shown behind `remote: `, and
/// comes from programs that know nothing of that terminal.
fn without_control(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                if characters.next_if_eq(&'[').is_some() {
                    while characters.next_if(|c| !('@'..='~').contains(c)).is_some() {}
                    characters.next();
                }
            }
            // A progress bar: only its last state matters.
            '\r' => plain.truncate(plain.rfind('\n').map_or(0, |index| index + 1)),
            '\t' | '\n' => plain.push(character),
            character if character.is_control() => {}
            character => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_to_the_terminal_are_left_out() {
        assert_eq!(
            without_control("       \u{1b}[31;1mred\u{1b}[0m and \u{7}bell"),
            "       red and bell"
        );
        assert_eq!(without_control("10%\r50%\r100%"), "100%");
        assert_eq!(without_control("a\tb\nc"), "a\tb\nc");
    }
}
