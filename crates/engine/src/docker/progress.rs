//! What BuildKit says while it builds. Docker Engine passes it on as lines of JSON; the
//! interesting ones carry a protobuf message of BuildKit's own, of which the parts that are
//! needed are written down here.

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use prost::Message;
use serde::Deserialize;

use crate::BuildEvent;

/// A longer line of a build is passed on in parts.
const LONGEST_LINE: usize = 16 * 1024;

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) vertexes: Vec<Vertex>,
    #[prost(message, repeated, tag = "3")]
    pub(super) logs: Vec<VertexLog>,
}

/// A step of the build.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Vertex {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(bool, tag = "4")]
    pub(super) cached: bool,
    #[prost(message, optional, tag = "5")]
    pub(super) started: Option<Instant>,
    #[prost(message, optional, tag = "6")]
    pub(super) completed: Option<Instant>,
    #[prost(string, tag = "7")]
    pub(super) error: String,
}

/// Only whether it is there matters.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Instant {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
}

/// What a step wrote.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VertexLog {
    #[prost(string, tag = "1")]
    pub(super) vertex: String,
    /// 1 for standard output, 2 for standard error.
    #[prost(int64, tag = "3")]
    pub(super) stream: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) text: Vec<u8>,
}

/// A line of the engine's answer to a build.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    aux: Option<serde_json::Value>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default, rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
}

#[derive(Debug, Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    message: Option<String>,
}

/// Turns the engine's lines into events.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Steps that were told of.
    told: HashSet<String>,
    /// Unfinished lines, by step and stream.
    partial: BTreeMap<(String, i64), Vec<u8>>,
}

impl Progress {
    /// What a line of the engine's answer means. Lines that say nothing of interest give none.
    pub(super) fn read(&mut self, line: &[u8]) -> Vec<BuildEvent> {
        let Ok(line) = serde_json::from_slice::<Line>(line) else {
            return Vec::new();
        };
        if line.error.is_some() || line.error_detail.is_some() {
            let message = line
                .error_detail
                .and_then(|detail| detail.message)
                .or(line.error)
                .unwrap_or_default();
            let mut events = self.flush();
            events.push(BuildEvent::Failed { message });
            return events;
        }
        match (line.id.as_deref(), line.aux) {
            (Some("moby.buildkit.trace"), Some(serde_json::Value::String(text))) => {
                let decoded = base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .unwrap_or_default();
                StatusResponse::decode(decoded.as_slice())
                    .map(|status| self.status(status))
                    .unwrap_or_default()
            }
            (Some("moby.image.id"), Some(aux)) => {
                let mut events = self.flush();
                let image = aux.get("ID").and_then(|id| id.as_str()).unwrap_or_default().to_owned();
                events.push(BuildEvent::Done { image });
                events
            }
            _ => Vec::new(),
        }
    }

    fn status(&mut self, status: StatusResponse) -> Vec<BuildEvent> {
        let mut events = Vec::new();
        for vertex in &status.vertexes {
            // Loading and unpacking the context is not a step that anybody wrote.
            let worth_telling =
                !vertex.name.starts_with("[internal]") && vertex.name != "copy /context /" && !vertex.name.is_empty();
            if worth_telling && (vertex.started.is_some() || vertex.cached) && self.told.insert(vertex.digest.clone()) {
                events.push(BuildEvent::Step {
                    name: vertex.name.clone(),
                    cached: vertex.cached,
                });
            }
        }
        for log in status.logs {
            let partial = self.partial.entry((log.vertex, log.stream)).or_default();
            partial.extend_from_slice(&log.text);
            while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = partial.drain(..=end).collect();
                events.push(BuildEvent::Output(visible(&line)));
            }
            if partial.len() > LONGEST_LINE {
                events.push(BuildEvent::Output(visible(&std::mem::take(partial))));
            }
        }
        for vertex in status.vertexes.iter().filter(|vertex| vertex.completed.is_some()) {
            for stream in [1, 2] {
                let rest = self
                    .partial
                    .remove(&(vertex.digest.clone(), stream))
                    .unwrap_or_default();
                if !rest.is_empty() {
                    events.push(BuildEvent::Output(visible(&rest)));
                }
            }
        }
        events
    }

    fn flush(&mut self) -> Vec<BuildEvent> {
        let rest = std::mem::take(&mut self.partial);
        rest.into_values()
            .filter(|text| !text.is_empty())
            .map(|text| BuildEvent::Output(visible(&text)))
            .collect()
    }
}

/// A line as a terminal would show it in the end: programs that draw a progress bar write it
/// again and again behind a carriage return.
fn visible(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    text.rsplit('\r').find(|part| !part.is_empty()).unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(status: &StatusResponse) -> Vec<u8> {
        let aux = base64::engine::general_purpose::STANDARD.encode(status.encode_to_vec());
        serde_json::json!({ "id": "moby.buildkit.trace", "aux": aux })
            .to_string()
            .into_bytes()
    }

    fn step(name: &str, cached: bool) -> Vertex {
        Vertex {
            digest: format!("sha256:{name}"),
            name: name.to_owned(),
            cached,
            started: Some(Instant { seconds: 1 }),
            ..Default::default()
        }
    }

    fn log(name: &str, stream: i64, text: &str) -> VertexLog {
        VertexLog {
            vertex: format!("sha256:{name}"),
            stream,
            text: text.as_bytes().to_vec(),
        }
    }

    #[test]
    fn steps_are_told_once_and_lines_are_put_together() {
        let mut progress = Progress::default();
        let first = StatusResponse {
            vertexes: vec![
                step("[internal] load", false),
                step("[1/2] FROM", true),
                step("[2/2] RUN", false),
            ],
            logs: vec![log("[2/2] RUN", 1, "one\ntw"), log("[2/2] RUN", 2, "warning")],
        };
        assert_eq!(
            progress.read(&trace(&first)),
            [
                BuildEvent::Step {
                    name: "[1/2] FROM".to_owned(),
                    cached: true
                },
                BuildEvent::Step {
                    name: "[2/2] RUN".to_owned(),
                    cached: false
                },
                BuildEvent::Output("one".to_owned()),
            ]
        );
        let mut ended = step("[2/2] RUN", false);
        ended.completed = Some(Instant { seconds: 2 });
        let second = StatusResponse {
            vertexes: vec![ended],
            logs: vec![log("[2/2] RUN", 1, "o\n10%\r50%\r100%\r\nend")],
        };
        let texts = ["two", "100%", "end", "warning"].map(|text| BuildEvent::Output(text.to_owned()));
        assert_eq!(progress.read(&trace(&second)), texts);
    }

    #[test]
    fn the_end_is_told_with_the_image_or_the_reason() {
        let mut progress = Progress::default();
        let done = progress.read(br#"{"id":"moby.image.id","aux":{"ID":"sha256:ab"}}"#);
        assert_eq!(
            done,
            [BuildEvent::Done {
                image: "sha256:ab".to_owned()
            }]
        );
        let failed = progress.read(br#"{"errorDetail":{"message":"exit code: 3"},"error":"exit code: 3"}"#);
        assert_eq!(
            failed,
            [BuildEvent::Failed {
                message: "exit code: 3".to_owned()
            }]
        );
        assert!(progress.read(b"garbage").is_empty());
    }
}
