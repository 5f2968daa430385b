//! What pages show while they are open: the overview, and the states of `GET /v1/live`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{CapStanding, Deployment, Problem, Release};

/// `GET /v1/overview`: all that runs, on one page. Only what the one who asks may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// Sorted by name.
    pub environments: Vec<OverviewEnvironment>,
    /// How accounts stand; only those whose money may be seen.
    pub accounts: Vec<CapStanding>,
    /// What a person should look at, worst first, 20 at most.
    pub troubles: Vec<Trouble>,
}

/// An environment in the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OverviewEnvironment {
    /// Name of the project.
    pub project: String,
    /// Name of the environment.
    pub environment: String,
    /// Where its main app answers.
    pub url: String,
    /// As in `EnvironmentStatus`.
    pub health: String,
    /// One line on what is the matter, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Number of the release that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<i64>,
    /// Since when it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<String>,
    /// Instances that are ready.
    pub ready: u32,
    /// Instances that should run.
    pub wanted: u32,
    /// Requests per second that its instances have answered in the last minute.
    pub requests_per_s: f64,
    /// Of those, the ones that were answered with 500 to 599, or not at all.
    pub errors_per_s: f64,
    /// For those who may see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money: Option<OverviewMoney>,
}

/// What an environment costs, and the cap that is nearest above it, of those that one may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OverviewMoney {
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// The scope of the cap: the environment, or else its project, or else its account.
    pub scope: String,
    /// Spent in that scope in this period.
    pub spent: String,
    /// The limit in force there; absent where nothing is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// `day`, `week`, `month` or `total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
    /// What the environment spends per hour, over the last minutes.
    pub burn_per_hour: String,
    /// When that cap is reached at the present pace; absent where it is not within the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<String>,
    /// Whether the environment spends nothing more at present.
    pub stopped: bool,
}

/// What a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    /// `error` or `warning`.
    pub severity: String,
    /// `crashed`, `degraded`, `deployment-failed`, `stopped`, `cap-soon`, `certificate`, `runaway`.
    pub kind: String,
    /// Name of the project.
    pub project: String,
    /// Name of the environment, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// One line for people.
    pub message: String,
    /// Since when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// The newest releases and deployments of an environment; the topic `releases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseState {
    /// Newest first, 20 at most.
    pub releases: Vec<Release>,
    /// Newest first, 20 at most.
    pub deployments: Vec<Deployment>,
}

/// The event `state` of `GET /v1/live`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LiveState {
    /// As it was asked for: `environment:shop/production`.
    pub topic: String,
    /// It was so at this instant, or newer.
    pub at: String,
    /// `Overview`, `EnvironmentStatus`, `ReleaseState`, or a list of `Domain`, `CapStanding`, `Task`.
    pub data: serde_json::Value,
}

/// The event `refused` of `GET /v1/live`: nothing comes of this topic any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveRefused {
    /// The topic.
    pub topic: String,
    /// Why.
    pub problem: Problem,
}

/// The event `tick` of `GET /v1/live`: all that was sent was true at this instant, or newer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveTick {
    /// The instant.
    pub at: String,
}

/// The event `end` of `GET /v1/live`; the stream ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveEnd {
    /// `signed-out` or `restarting`.
    pub reason: String,
}

/// `GET …/loss`: what destroying an environment would lose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Loss {
    /// Volumes with what they hold.
    pub volumes: Vec<LostVolume>,
    /// Host names of one's own.
    pub domains: Vec<String>,
    /// Releases that could be rolled back to.
    pub releases: i64,
    /// Secrets.
    pub secrets: usize,
    /// What is told besides, each one line.
    pub notes: Vec<String>,
}

/// A volume that would be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LostVolume {
    /// The app.
    pub app: String,
    /// Name.
    pub name: String,
    /// What it holds.
    pub bytes: u64,
}

/// `GET …/releases/{number}/difference`: what making it live changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseDifference {
    /// The release that it is compared with; absent where nothing serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// The release that would be live.
    pub to: i64,
    /// Apps whose images differ.
    pub images: Vec<ImageDifference>,
    /// Variables that differ; values are never shown.
    pub variables: Vec<VariableDifference>,
    /// Processes that differ.
    pub processes: Vec<ProcessDifference>,
    /// Commit of the one that it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_from: Option<String>,
    /// Commit of the one that would be live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_to: Option<String>,
    /// What stays, and what does not happen again; each one line.
    pub notes: Vec<String>,
}

/// An app whose image differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageDifference {
    /// The app.
    pub app: String,
    /// `added`, `removed` or `changed`.
    pub change: String,
}

/// A variable that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VariableDifference {
    /// Its name; with `APP: ` before it where it stands in `weir.toml`.
    pub name: String,
    /// `added`, `removed` or `changed`.
    pub change: String,
    /// Whether it is a secret.
    pub secret: bool,
}

/// A process that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProcessDifference {
    /// `app.process`.
    pub process: String,
    /// `added`, `removed` or `changed`.
    pub change: String,
    /// What is different, in words.
    pub detail: String,
}
