//! One line of a log.

use serde::{Deserialize, Serialize};

use crate::{AppName, InstanceId, ProcessName, UnixMillis};

/// One line that an instance, a build or Weir itself wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written.
    pub at_ms: UnixMillis,
    /// The app.
    pub app: AppName,
    /// The process; `release` and `run` for one-off containers, `build` for builds.
    pub process: ProcessName,
    /// The instance; `None` for builds.
    pub instance: Option<InstanceId>,
    /// Who wrote it.
    pub stream: LogStream,
    /// Without line end; at most 16 KiB, longer ones are cut and say so.
    pub text: String,
}

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Weir itself: started, exited with status 1, 12,000 lines dropped.
    Weir,
}
