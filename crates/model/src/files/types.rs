//! `weir.toml` as types. Documentation comments here are the descriptions in the JSON schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::access_log::AccessLogFile;
use super::cache::CacheFile;
use super::tcp::TcpFile;
use super::values::{CpuShare, Duration, MemorySize, RequestRate};
use crate::protection::{RatePer, Satisfy};
use crate::spec::Writers;

/// How the repository wants to be built and run. One app at the top level, or several as
/// `[app.NAME]` tables, each with its folder.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "weir.toml")]
pub struct ProjectFile {
    /// Name of the app; the project's name if absent. Not together with `[app.NAME]`.
    pub name: Option<String>,
    /// How the image is made.
    pub build: Option<BuildFile>,
    /// What runs, by name: `web` is routed, others are workers, `release` runs once per release.
    pub process: BTreeMap<String, ProcessFile>,
    /// The command that runs once per release, before anything is switched. The same as `[process.release]`.
    pub release: Option<ReleaseFile>,
    /// Folders that survive releases, rollbacks and restarts, by name.
    pub volume: BTreeMap<String, VolumeFile>,
    /// Path prefixes that go to other processes than `web`, or are of a class.
    pub route: Vec<RouteFile>,
    /// Services that speak TCP and not HTTP, at a port of their own or by TLS at the https port.
    pub tcp: Vec<TcpFile>,
    /// Kinds of requests with places and a queue of their own, by name; routes name them.
    pub class: BTreeMap<String, ClassFile>,
    /// What is let through to the app.
    pub limits: Option<LimitsFile>,
    /// Variables of all apps, for what is not secret. Those that are set with `weir variable set` override them.
    pub variables: BTreeMap<String, String>,
    /// How releases are switched.
    pub deploy: Option<DeployFile>,
    /// Whether requests are logged: `true`, or `"with-query"` with the query of their URLs, in which secrets may be. `false` if absent.
    pub access_log: Option<AccessLogFile>,
    /// What Weir keeps of answers, and how it sends them.
    pub cache: Option<CacheFile>,
    /// The apps of a repository with several of them, by name.
    pub app: BTreeMap<String, AppFile>,
}

/// One app of a repository with several of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AppFile {
    /// The app's folder, from the root of the repository. The build sees this folder only. The root if absent.
    pub folder: Option<String>,
    /// How the image is made.
    pub build: Option<BuildFile>,
    /// What runs, by name: `web` is routed, others are workers, `release` runs once per release.
    pub process: BTreeMap<String, ProcessFile>,
    /// The command that runs once per release, before anything is switched. The same as `[process.release]`.
    pub release: Option<ReleaseFile>,
    /// Folders that survive releases, rollbacks and restarts, by name.
    pub volume: BTreeMap<String, VolumeFile>,
    /// Path prefixes that go to other processes than `web`, or are of a class.
    pub route: Vec<RouteFile>,
    /// Services that speak TCP and not HTTP, at a port of their own or by TLS at the https port.
    pub tcp: Vec<TcpFile>,
    /// Kinds of requests with places and a queue of their own, by name; routes name them.
    pub class: BTreeMap<String, ClassFile>,
    /// What is let through to the app.
    pub limits: Option<LimitsFile>,
    /// Variables of this app, for what is not secret. Those that are set with `weir variable set` override them.
    pub variables: BTreeMap<String, String>,
    /// How releases are switched.
    pub deploy: Option<DeployFile>,
    /// Whether requests are logged: `true`, or `"with-query"` with the query of their URLs, in which secrets may be. `false` if absent.
    pub access_log: Option<AccessLogFile>,
    /// What Weir keeps of answers, and how it sends them.
    pub cache: Option<CacheFile>,
}

/// How the image is made.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BuildFile {
    /// What the source is. `auto` looks at its files: a Dockerfile wins, then Python, Node.js, a static site.
    pub kind: BuildKind,
    /// Path of the Dockerfile in the app's folder; `Dockerfile` if absent.
    pub dockerfile: Option<String>,
    /// Stage of the Dockerfile to build; the last one if absent.
    pub target: Option<String>,
    /// Language and version (`python:3.13`, `node:22`), or any image to build on (`docker.io/library/python:3.12-slim`). With kind `image`: the image to run.
    pub runtime: Option<String>,
    /// Shell command that builds the app, after its dependencies were installed. Replaces the one that was detected; empty: none.
    pub command: Option<String>,
    /// Debian packages that the app needs, while building and running.
    pub packages: Vec<String>,
    /// Folder of a static site, in the app's folder; with Node.js the folder that the build command fills. It is served as files.
    pub publish: Option<String>,
    /// Build arguments of the Dockerfile (`ARG`). Not for secrets.
    pub arguments: BTreeMap<String, String>,
    /// Whether the machine's certificate authorities stay in the image, so that the running app trusts them too.
    pub trust_ca: bool,
}

/// What the source is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BuildKind {
    /// By the files that are there.
    #[default]
    Auto,
    /// A Dockerfile.
    Dockerfile,
    /// A Python app.
    Python,
    /// A Node.js app.
    Node,
    /// Files to be served.
    Static,
    /// No source: an image that exists.
    Image,
}

/// How one process runs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessFile {
    /// The shell command. If absent: the one in the Procfile, the detected one, or what the image starts.
    pub command: Option<String>,
    /// How many run, unless `weir scale` says otherwise; 1 if absent.
    #[schemars(range(min = 0, max = 100))]
    pub instances: Option<u32>,
    /// Memory limit of an instance; "512MiB" if absent, at least "16MiB".
    pub memory: Option<MemorySize>,
    /// CPU limit of an instance in cores; 1 if absent.
    pub cpu: Option<CpuShare>,
    /// The port that it listens on, given to it as `PORT`. If absent: the image's `EXPOSE`, else 8000.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// How many requests an instance gets at once; 20 if absent.
    #[schemars(range(min = 1, max = 10000))]
    pub concurrency: Option<u32>,
    /// Longest wait for the first byte of an answer; "60s" if absent.
    pub request_timeout: Option<Duration>,
    /// Time between SIGTERM and SIGKILL; "10s" if absent.
    pub grace: Option<Duration>,
    /// Most processes and threads of an instance; 512 if absent.
    #[schemars(range(min = 16, max = 32768))]
    pub max_processes: Option<u32>,
    /// Most open files of an instance; 16384 if absent.
    #[schemars(range(min = 64, max = 1_048_576))]
    pub max_open_files: Option<u32>,
    /// How readiness and health are judged.
    pub check: Option<CheckFile>,
    /// Longest run of the process `release`; "10m" if absent. Not for other processes.
    pub timeout: Option<Duration>,
    /// How the number of instances follows the requests, and what becomes of those that nobody asks anything of.
    pub scaling: Option<ScalingFile>,
}

/// How the number of instances of a routed process follows the requests.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScalingFile {
    /// Least number of instances; 1 if absent. 0: all are stopped while nobody asks for them, as with `idle = "stop"`.
    #[schemars(range(min = 0, max = 100))]
    pub min: Option<u32>,
    /// Most instances. Needed with `min` and `target`; not together with `instances`.
    #[schemars(range(min = 1, max = 100))]
    pub max: Option<u32>,
    /// Requests in flight per instance that are aimed at; 70 % of `concurrency` if absent.
    #[schemars(range(min = 1, max = 10000))]
    pub target: Option<u32>,
    /// What becomes of instances that nobody asks anything of: `never` (they go on), `freeze` (no CPU time until the next request), `stop` (they end; the next request starts one). `never` if absent.
    pub idle: Option<IdleFile>,
    /// After so long without a request, a waiting one or an open connection; "15m" if absent.
    pub idle_after: Option<Duration>,
}

/// What becomes of instances that nobody asks anything of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdleFile {
    /// They go on.
    Never,
    /// They keep their memory and get no CPU time until the next request.
    Freeze,
    /// They end; the next request starts one.
    Stop,
}

/// How readiness and health of a routed process are judged.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckFile {
    /// A path that must answer 200 to 399. If absent: `/` must answer below 500.
    pub path: Option<String>,
    /// How long an instance may take until its first passed check; "60s" if absent.
    pub ready_timeout: Option<Duration>,
    /// Pause between checks; "10s" if absent.
    pub interval: Option<Duration>,
    /// Longest wait for an answer; "5s" if absent.
    pub timeout: Option<Duration>,
    /// So many failed checks in a row and the instance is replaced; 3 if absent.
    #[schemars(range(min = 1, max = 100))]
    pub failures: Option<u32>,
}

/// The command that runs once per release.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReleaseFile {
    /// The shell command. If absent: the one in the Procfile.
    pub command: Option<String>,
    /// Longest run; "10m" if absent.
    pub timeout: Option<Duration>,
}

/// A folder that survives.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeFile {
    /// Absolute path in the instance.
    pub path: String,
    /// How many instances may have it open at once: `one`, or `many` if the app coordinates itself.
    #[serde(default = "one_writer")]
    #[schemars(with = "WritersFile")]
    pub writers: Writers,
}

fn one_writer() -> Writers {
    Writers::One
}

/// The words for [`Writers`]; a type of its own, because the model's types carry no schema.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum WritersFile {
    /// Releases never overlap; a switch holds requests for a moment.
    One,
    /// Any number.
    Many,
}

/// A path prefix that goes to a process, or whose requests are of a class.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteFile {
    /// Begins with `/`; matches whole segments (`/api` matches `/api` and `/api/x`). `/api/*` is the same as `/api`.
    pub path: String,
    /// The process that answers; `web` if absent.
    pub process: Option<String>,
    /// Methods that it is for, like `["POST", "PUT"]`; all if absent.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The class of its requests, from `[class.NAME]`; the default one if absent.
    pub class: Option<String>,
    /// Whether answers under this path are kept that say that they may be shared; as `[cache]` says if absent.
    pub cache: Option<bool>,
    /// Largest body of a request, like "10GiB"; that of the app if absent.
    pub max_body: Option<MemorySize>,
    /// How many requests pass, like "5/s", "100/m" or "1000/h", on top of what holds for the app.
    pub rate: Option<RequestRate>,
    /// How many of them may come at once; as many as `rate` lets pass in a second (at least 5) if absent.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
    /// Whose requests `rate` counts together: those of each client `address`, or `all`. `address` if absent.
    #[schemars(with = "Option<RatePerFile>")]
    pub per: Option<RatePer>,
    /// The secret that holds who may pass: lines of `user:password` or `user:hash`. It is set with `weir set`; a password has no place in this file.
    pub password: Option<String>,
    /// Addresses and networks that may pass, like `["10.0.0.0/8"]`; everybody if absent.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Addresses and networks that may not pass.
    #[serde(default)]
    pub deny: Vec<String>,
    /// Whether `all` of address and password are needed, or `any` of them. `all` if absent.
    #[schemars(with = "Option<SatisfyFile>")]
    pub satisfy: Option<Satisfy>,
}

/// What is let through to the whole app.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsFile {
    /// Largest body of a request, like "10GiB"; no bound if absent.
    pub max_body: Option<MemorySize>,
    /// How many requests pass, like "50/s", "1000/m" or "10000/h".
    pub rate: Option<RequestRate>,
    /// How many of them may come at once; as many as `rate` lets pass in a second (at least 5) if absent.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
    /// Whose requests `rate` counts together: those of each client `address`, or `all`. `address` if absent.
    #[schemars(with = "Option<RatePerFile>")]
    pub per: Option<RatePer>,
}

/// The words for [`RatePer`].
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum RatePerFile {
    /// Each client address.
    Address,
    /// Everybody.
    All,
}

/// The words for [`Satisfy`].
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum SatisfyFile {
    /// Both.
    All,
    /// One of them.
    Any,
}

/// A kind of requests with places and a queue of its own.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassFile {
    /// How many of them an instance gets at once: theirs alone, out of the process's `concurrency`.
    #[schemars(range(min = 1, max = 9999))]
    pub concurrency: u32,
    /// How many wait for a place; further ones get a 503. 100 if absent.
    #[schemars(range(min = 0, max = 10000))]
    pub queue: Option<u32>,
    /// Longest wait for a place; "30s" if absent.
    pub queue_timeout: Option<Duration>,
    /// Longest wait for the first byte of an answer; the process's if absent.
    pub request_timeout: Option<Duration>,
}

/// How releases are switched.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeployFile {
    /// How long websockets may go on after a switch; "30s" if absent.
    pub drain: Option<Duration>,
}
