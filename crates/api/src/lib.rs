//! The public API: requests, answers and events of `/v1`, as control serves them and as the
//! CLI reads them. Shapes here are a promise to scripts: they only grow.
//!
//! Instants are RFC 3339 text in UTC with milliseconds. Names are those of the glossary.
//! Errors are `application/problem+json` ([`Problem`]).

mod access_log;
mod billing;
mod cache;
mod certificates;
mod files;
mod help;
mod invoices;
mod live;
mod metrics;
mod money;
mod notices;
mod people;
mod protection;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use access_log::*;
pub use billing::*;
pub use cache::*;
pub use certificates::*;
pub use files::*;
pub use help::*;
pub use invoices::*;
pub use live::*;
pub use metrics::*;
pub use money::*;
pub use notices::*;
pub use people::*;
pub use protection::*;

/// RFC 9457: what went wrong, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable and machine-readable: `project-not-found`, `name-taken`, `invalid-input` …
    #[serde(rename = "type")]
    pub kind: String,
    /// One line for people.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// More for people: where, which value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The next step: a command to type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where a list was given: what is wrong with its entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<EntryProblem>,
}

/// What is wrong with an entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryProblem {
    /// Which one, from 1.
    pub entry: usize,
    /// One line for people.
    pub title: String,
}

/// State of the platform. Status 200 once everything is ready, else 503.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ready` or `starting`.
    pub status: String,
    /// Version of Weir.
    pub version: String,
    /// Which Weir this is: the value of the label `weir.installation` of all it has in Docker,
    /// and the content of the file `installation` in its data folder.
    #[serde(default)]
    pub installation: String,
    /// What it waits for, by part: `engine`, `node`, `store`; `ok` or the reason.
    pub parts: BTreeMap<String, String>,
    /// Address of the ingress, as people reach it: `127.0.0.1:8080`.
    pub ingress: String,
    /// Suffix of the hosts that Weir gives: `localhost`.
    pub domain: String,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// Name of the token or service account, or mail address of the person.
    pub token: String,
    /// `token`, `service-account` or `person`.
    #[serde(default)]
    pub kind: String,
    /// `read`, `deploy` or `admin`; of a person the highest role.
    pub scope: String,
    /// The only project that it may touch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What is had, and where.
    #[serde(default)]
    pub rights: Vec<WhereRights>,
}

/// What is had somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhereRights {
    /// `weir`, `account:NAME`, `PROJECT` or `PROJECT/ENVIRONMENT`; it holds for all that is in it.
    pub scope: String,
    /// A role, or `read token`, `deploy token`, `admin token`.
    pub role: String,
    /// `see`, `deploy`, `set-caps` …
    pub permissions: Vec<String>,
}

/// `POST /v1/projects`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// 1 to 30 of `a-z 0-9 -`.
    pub name: String,
    /// The branch that production follows; `main` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The account that pays for it, for good; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// Name.
    pub name: String,
    /// Identity.
    pub id: String,
    /// Where to push: `http://CONTROL/git/NAME.git`.
    pub git_url: String,
    /// Where production answers.
    pub url: String,
    /// Whether it is being destroyed.
    pub destroying: bool,
    /// When it was created.
    pub created: String,
    /// Its environments.
    pub environments: Vec<Environment>,
}

/// `POST /v1/projects/{project}/environments`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateEnvironment {
    /// 1 to 30 of `a-z 0-9 -`.
    pub name: String,
    /// The branch that it follows; absent: only promotion deploys here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

/// `PATCH /v1/projects/{project}/environments/{environment}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateEnvironment {
    /// The branch to follow from now on.
    pub branch: String,
}

/// An environment, as in lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Environment {
    /// Name.
    pub name: String,
    /// Identity.
    pub id: String,
    /// The branch that it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// `active`, `paused` or `destroying`.
    pub mode: String,
    /// Where its main app answers.
    pub url: String,
    /// Number of the release that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<i64>,
}

/// `GET /v1/projects/{project}/environments/{environment}`: what runs, from reality.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentStatus {
    /// The environment.
    pub environment: Environment,
    /// Name of the project.
    pub project: String,
    /// In one word: `running`, `deploying`, `degraded`, `crashed`, `paused`, `empty`,
    /// `destroying`.
    pub health: String,
    /// One line on what is the matter, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Processes with their instances.
    pub processes: Vec<ProcessStatus>,
    /// Hosts with what answers.
    pub domains: Vec<Domain>,
    /// The deployment that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
    /// What it has cost, and what is left of the cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money: Option<EnvironmentMoney>,
    /// How it is closed; absent: it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// Requests that were not let through since the nodes started.
    #[serde(default, skip_serializing_if = "RefusedRequests::is_nothing")]
    pub refused: RefusedRequests,
}

/// A process of an app with its instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProcessStatus {
    /// The app.
    pub app: String,
    /// The process.
    pub process: String,
    /// How many instances should run now.
    pub wanted: u32,
    /// The least and the most, where their number follows the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<InstanceRange>,
    /// What becomes of instances that nobody asks anything of: `freeze` or `stop`; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
    /// How many are ready.
    pub ready: u32,
    /// The command, if not the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Memory limit of an instance, in bytes.
    pub memory_bytes: u64,
    /// CPU limit of an instance, in thousandths of a core.
    pub cpu_milli: u32,
    /// All instances, those that end included.
    pub instances: Vec<Instance>,
    /// What goes on in the classes of its requests, the default one first; none if it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassStatus>,
    /// The TCP services that it answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp: Vec<TcpServiceStatus>,
}

/// A service that speaks TCP, and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TcpServiceStatus {
    /// Its name.
    pub name: String,
    /// The port of the machine at which it is reached, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// That port with a host name that leads to this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Who ends the TLS of those that come by name: `end` (Weir) or `passthrough` (the app).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// Names and port by which it is reached with TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// What goes on in one class of the requests to a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClassStatus {
    /// Its name; `default` for requests without a class.
    pub class: String,
    /// How many of its requests an instance gets at once.
    pub concurrency: u32,
    /// Requests at instances now.
    pub in_flight: u64,
    /// Requests that wait for a place.
    pub waiting: u64,
    /// Requests that were refused since the node started, because so many waited.
    pub refused_full: u64,
    /// Requests that waited in vain since the node started.
    pub refused_late: u64,
}

/// From how many to how many instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstanceRange {
    /// At least; 0 where it is stopped while nobody asks for it.
    pub min: u32,
    /// At most.
    pub max: u32,
}

/// One running copy of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// Identity.
    pub id: String,
    /// Number of the release that it runs.
    pub release: i64,
    /// `starting`, `ready`, `asleep`, `unhealthy`, `draining`, `frozen`, `exited`, `crashed`.
    pub state: String,
    /// Why, if it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was started.
    pub started: String,
    /// How often its predecessor crashed in a row.
    pub crashes: u32,
    /// What it does although no request is in flight there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<BackgroundWork>,
    /// Last lines of its log, where it crashed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Release {
    /// 1, 2, 3 … in the environment.
    pub number: i64,
    /// Identity.
    pub id: String,
    /// Whether it serves.
    pub live: bool,
    /// `push`, `upload`, `configuration`, `promotion`.
    pub source: String,
    /// One line: commit and message, names of variables, …
    pub description: String,
    /// Commit, in hex, if it came from a push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// App to image.
    pub images: BTreeMap<String, String>,
    /// What became of its latest deployment: `live`, `failed`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// When it was made.
    pub created: String,
    /// Who asked for it: a person's mail address, or the name of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// First line of the commit's message, or of the upload's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    /// Identity.
    pub id: String,
    /// Number of the release.
    pub release: i64,
    /// `release`, `rollback`, `restart`.
    pub kind: String,
    /// `pending`, `releasing`, `starting`, `holding`, `switching`, `live`, `retired`, `failed`,
    /// `superseded`.
    pub state: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The task to watch.
    pub task: String,
    /// When it was asked for.
    pub created: String,
    /// When its present state was entered.
    pub entered: String,
    /// Who asked for it: a person's mail address, or the name of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Every state that it has entered, in order. Only in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<DeploymentStep>,
}

/// A state that a deployment has entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentStep {
    /// As in `Deployment`.
    pub state: String,
    /// When it was entered.
    pub entered: String,
}

/// `POST …/deployments`: make an existing release live.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateDeployment {
    /// `rollback` or `restart`, or `redeploy` for what `--no-deploy` left waiting.
    pub kind: String,
    /// The release to roll back to; absent: the one that was live before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<i64>,
}

/// `POST …/promote`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// The environment whose live images are to run here.
    pub from: String,
}

/// `PUT …/canary`. What is not given stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCanary {
    /// The part of the visitors that gets it: `25%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
    /// Requests with this header get it whatever the share is: `X-Canary: yes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// A release that gets a part of the requests, beside the one that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CanaryStatus {
    /// The part of the visitors that gets it: `5 %`.
    pub share: String,
    /// Requests with this header get it whatever the share is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Whether it is on its way to get everything.
    pub promoted: bool,
    /// Since when it gets requests.
    pub since: String,
    /// The release that serves, then the canary.
    pub releases: Vec<CanaryRelease>,
}

/// How one of the two releases does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CanaryRelease {
    /// Its number.
    pub release: i64,
    /// Whether it is the canary.
    pub canary: bool,
    /// Instances of it that answer.
    pub instances: u32,
    /// Requests that these have answered since they started.
    pub requests: u64,
    /// Of all requests, those that were answered with 500 to 599, or not at all.
    pub failed: u64,
    /// Requests that go on.
    pub in_flight: u64,
}

/// `PUT …/scale`. Keys are `process` (of the main app) or `app.process`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetScale {
    /// Number of instances by process: a number from 0 to 100, or `{"min": 1, "max": 5}` where it
    /// is to follow the requests (`min` 0: stopped while nobody asks for it).
    pub processes: BTreeMap<String, InstanceNumber>,
}

/// How many instances of a process are to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum InstanceNumber {
    /// Always so many.
    Fixed(u32),
    /// As many as the requests ask for.
    Moving {
        /// At least.
        min: u32,
        /// At most.
        max: u32,
    },
}

/// A variable. The value of a secret is never given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// Value; absent for secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Whether it is a secret.
    pub secret: bool,
    /// Whether builds see it.
    pub build: bool,
    /// Whether the running release has it like this; `false` after `--no-deploy`.
    pub live: bool,
    /// When it was set.
    pub updated: String,
}

/// `PATCH …/variables`: sets and unsets any number at once and makes one release of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateVariables {
    /// To set.
    #[serde(default)]
    pub set: BTreeMap<String, SetVariable>,
    /// To remove.
    #[serde(default)]
    pub unset: Vec<String>,
    /// Whether to wait with a release (`--no-deploy`).
    #[serde(default)]
    pub no_deploy: bool,
}

/// One variable to set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetVariable {
    /// At most 64 KiB.
    pub value: String,
    /// Keep it sealed and never show it again.
    #[serde(default)]
    pub secret: bool,
    /// Builds see it too.
    #[serde(default)]
    pub build: bool,
}

/// Answer to what takes time: watch the task. `task` is absent where nothing was to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The task to watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// One line for people.
    pub message: String,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Identity.
    pub id: String,
    /// `push`, `deploy`, `pause`, `resume`, `scale`, `destroy`.
    pub kind: String,
    /// Name of the project.
    pub project: String,
    /// Name of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// One line.
    pub title: String,
    /// `queued`, `running`, `done`, `failed`, `superseded`.
    pub state: String,
    /// The step that it is at.
    pub step: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it was asked for.
    pub created: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// One line of a task's log. Server-sent events of `GET /v1/tasks/{task}/log`: event `line`
/// with this, its id the sequence; at the end event `end` with the [`Task`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskLine {
    /// 1, 2, 3 …
    pub sequence: i64,
    /// When it was written.
    pub at: String,
    /// `step`, `info`, `output`, `error`, `hint`.
    pub kind: String,
    /// Without line end.
    pub text: String,
}

/// One line of a log. Server-sent events of `GET …/logs?follow=true`: event `line`, with the same
/// identity, and [`LogGap`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Unique in the environment; sorts, as text, as the lines do; stays as long as the line is kept.
    #[serde(default)]
    pub id: String,
    /// When it was written.
    pub at: String,
    /// The app.
    pub app: String,
    /// The process; `build` for builds.
    pub process: String,
    /// The instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// `stdout`, `stderr`, `weir`.
    pub stream: String,
    /// Without line end.
    pub text: String,
}

/// The event `gap` of `GET …/logs?follow=true`: lines went before they could be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogGap {
    /// The app whose lines they were.
    pub app: String,
    /// How many.
    pub lines: u64,
    /// The line that follows them, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// `POST /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for.
    pub name: String,
    /// `read`, `deploy` or `admin`.
    pub scope: String,
    /// The only project that it may touch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Days until it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_days: Option<u32>,
}

/// A token. `secret` is given once, when it is created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Identity.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// `read`, `deploy` or `admin`.
    pub scope: String,
    /// The only project that it may touch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// When it was created.
    pub created: String,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// When it was last used, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// The service account whose token it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// A change of state. Server-sent events of `GET /v1/events`: event `change`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Rises; resume with `Last-Event-ID`.
    pub sequence: i64,
    /// When.
    pub at: String,
    /// Name of the project.
    pub project: String,
    /// Name of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// `deployment.live`, `deployment.failed`, `instance.crashed`, `environment.paused` …
    pub kind: String,
    /// One line for people.
    pub message: String,
}

/// Text frames of the WebSockets `…/run` and `…/exec`. Binary frames carry bytes: from the
/// client what the command reads; from Weir one byte (1 standard output, 2 standard error) and
/// what the command wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum SessionMessage {
    /// From the client: the terminal has this size, in characters.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// From the client: standard input has ended.
    Eof,
    /// From Weir, last: the command ended with this status.
    Exit {
        /// Exit status.
        status: i64,
    },
    /// From Weir, last: it could not be run.
    Error {
        /// Why.
        message: String,
    },
}
