//! Builds with BuildKit through the engine's own `/build` call: the tar goes up as the body,
//! the progress comes down as lines of JSON. No session is opened, so a build can take nothing
//! from this side but its context; base images must be there or come from a public registry.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use hyper::Method;
use tokio::time::Instant;

use crate::{BoxStream, BuildEvent, EngineError, ImageBuild};

use super::progress::Progress;
use super::{DockerEngine, raw};

/// A longer line of the engine's answer is none.
const LONGEST_LINE: usize = 8 << 20;
/// Longest wait for the engine to take notice that a build is cancelled.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of the engine's answer to a prune, which lists what it removed.
const MOST_ANSWER_BYTES: usize = 16 << 20;

impl DockerEngine {
    /// Starts a build. Dropping the stream cancels it.
    pub(super) async fn build_image(&self, build: ImageBuild) -> Result<BoxStream<BuildEvent>, EngineError> {
        let client = self.client().await?;
        let parent = self.shared.build_limits.prepare(&client.docker).await;
        let id = format!("weir-{}-{:016x}", self.installation(), fastrand::u64(..));
        let json = |map| serde_json::to_string(map).map_err(|error| EngineError::Refused(error.to_string()));
        let mut query = vec![
            // BuildKit.
            ("version", "2".to_owned()),
            ("buildid", id.clone()),
            ("t", build.tag.clone()),
            ("dockerfile", build.dockerfile.clone()),
            ("buildargs", json(&build.arguments)?),
            ("labels", json(&build.labels)?),
            ("cgroupparent", parent),
        ];
        if let Some(target) = &build.target {
            query.push(("target", target.clone()));
        }
        let deadline = Instant::now() + Duration::from_secs(u64::from(build.timeout_s));
        let guard = CancelGuard {
            socket: self.socket().to_owned(),
            prefix: client.prefix.clone(),
            id: Some(id),
        };
        let target = raw::path_with_query(&format!("{}/build", client.prefix), &query);
        let sent = raw::send(
            self.socket(),
            Method::POST,
            &target,
            Some("application/x-tar"),
            raw::Upgrade::None,
            raw::streamed(build.context),
        );
        let timeout_s = build.timeout_s;
        let response = tokio::time::timeout_at(deadline, sent)
            .await
            .map_err(|_elapsed| EngineError::Refused(too_long(timeout_s)))??;
        let running = Running {
            lines: response.stream(),
            buffer: BytesMut::new(),
            progress: Progress::default(),
            ready: VecDeque::new(),
            deadline,
            timeout_s,
            done: None,
            ended: false,
            guard,
            _limits: self.shared.build_limits.watch(),
        };
        Ok(Box::pin(futures_util::stream::unfold(
            running,
            |mut running| async move {
                let event = running.next().await?;
                Some((event, running))
            },
        )))
    }

    /// Shrinks the builder's cache.
    pub(super) async fn prune_build_cache(&self, keep_bytes: u64) -> Result<(), EngineError> {
        let client = self.client().await?;
        // Both names of the parameter: it was renamed in protocol 1.48.
        let query = [
            ("all", "1".to_owned()),
            ("keep-storage", keep_bytes.to_string()),
            ("reserved-space", keep_bytes.to_string()),
        ];
        let target = raw::path_with_query(&format!("{}/build/prune", client.prefix), &query);
        let response = raw::send(
            self.socket(),
            Method::POST,
            &target,
            None,
            raw::Upgrade::None,
            raw::empty(),
        )
        .await?;
        response.bytes(MOST_ANSWER_BYTES).await.map(|_removed| ())
    }
}

/// A build that goes on.
struct Running {
    lines: BoxStream<Result<Bytes, EngineError>>,
    buffer: BytesMut,
    progress: Progress,
    ready: VecDeque<BuildEvent>,
    deadline: Instant,
    timeout_s: u32,
    /// The image, once it is there; told when the engine has named it and said its last word.
    done: Option<String>,
    ended: bool,
    guard: CancelGuard,
    _limits: super::build_limits::Watch,
}

impl Running {
    async fn next(&mut self) -> Option<BuildEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            match tokio::time::timeout_at(self.deadline, self.lines.next()).await {
                Ok(Some(Ok(bytes))) => {
                    self.buffer.extend_from_slice(&bytes);
                    self.read_lines();
                }
                Ok(Some(Err(error))) => self.end(BuildEvent::Failed {
                    message: error.to_string(),
                }),
                Ok(None) => {
                    let rest = self.buffer.split();
                    self.read_line(&rest);
                    let last = match self.done.take() {
                        Some(image) => BuildEvent::Done { image },
                        None => BuildEvent::Failed {
                            message: "the container engine ended the build".to_owned(),
                        },
                    };
                    self.guard.id = None;
                    self.end(last);
                }
                Err(_elapsed) => self.end(BuildEvent::Failed {
                    message: too_long(self.timeout_s),
                }),
            }
        }
    }

    fn read_lines(&mut self) {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line = self.buffer.split_to(end + 1);
            self.read_line(&line);
        }
        if self.buffer.len() > LONGEST_LINE {
            self.end(BuildEvent::Failed {
                message: "the container engine sent a line without an end".to_owned(),
            });
        }
    }

    fn read_line(&mut self, line: &[u8]) {
        for event in self.progress.read(line) {
            match event {
                BuildEvent::Done { image } => self.done = Some(image),
                BuildEvent::Failed { message } => {
                    self.guard.id = None;
                    self.end(BuildEvent::Failed { message });
                }
                other if !self.ended => self.ready.push_back(other),
                _behind_the_end => {}
            }
        }
    }

    /// Nothing follows.
    fn end(&mut self, last: BuildEvent) {
        if !self.ended {
            self.ended = true;
            self.ready.push_back(last);
        }
    }
}

fn too_long(timeout_s: u32) -> String {
    format!("the build took longer than {timeout_s} seconds and was stopped")
}

/// Tells the engine to stop a build that nobody listens to any more. Closing the connection
/// does so, too, but not before the engine next writes to it.
#[derive(Debug)]
struct CancelGuard {
    socket: PathBuf,
    prefix: String,
    id: Option<String>,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (socket, prefix) = (std::mem::take(&mut self.socket), std::mem::take(&mut self.prefix));
        runtime.spawn(async move {
            let target = raw::path_with_query(&format!("{prefix}/build/cancel"), &[("id", id)]);
            let cancel = raw::send(&socket, Method::POST, &target, None, raw::Upgrade::None, raw::empty());
            match tokio::time::timeout(CANCEL_TIMEOUT, cancel).await {
                Ok(Ok(_stopped)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a build was not cancelled; it had probably ended"),
                Err(_elapsed) => tracing::debug!("a build was not cancelled in time"),
            }
        });
    }
}
