//! The past of what is measured.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET …/metrics`: what happened in an environment, in steps of equal length. Points lie on whole steps
/// since 1970; the last one may still grow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Metrics {
    /// The beginning of the first step.
    pub from: String,
    /// The end of the last step, or now.
    pub until: String,
    /// Seconds of a step.
    pub step_s: u32,
    /// Those that were asked for, in a fixed order.
    pub series: Vec<MetricSeries>,
    /// Releases that became live within, oldest first; the newest 500.
    pub marks: Vec<MetricMark>,
}

/// One figure over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricSeries {
    /// `requests`, `errors`, `latency_p50`, `latency_p95`, `latency_p99`, `cpu`, `memory`, `instances`,
    /// `egress`, `cost`.
    pub name: String,
    /// `1/s`, `s`, `cores`, `bytes`, `bytes/s`, `instances`, or a currency with `/h`.
    pub unit: String,
    /// With `by=process`: of which app; absent for what belongs to no app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// With `by=process`: of which process; absent for what belongs to no process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// A value for each step; `null` where nothing was measured, which is not 0.
    pub values: Vec<Option<f64>>,
}

/// A release became live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MetricMark {
    /// When.
    pub at: String,
    /// Number of the release.
    pub release: i64,
    /// `release`, `rollback` or `restart`.
    pub kind: String,
}
