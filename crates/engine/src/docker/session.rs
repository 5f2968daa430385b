//! Commands in running instances and attached main processes: bytes both ways as they are.

use std::collections::VecDeque;
use std::time::Duration;

use bollard::exec::CreateExecOptions;
use bollard::models::ContainerStateStatusEnum as Status;
use bollard::query_parameters::{InspectContainerOptions, ResizeContainerTTYOptionsBuilder, ResizeExecOptionsBuilder};
use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::Method;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;
use weir_model::InstanceId;

use crate::{BoxStream, EngineError, Session, SessionId};

use super::output::{Framing, Unframer};
use super::{DockerEngine, errors, names, raw};

/// So much input is held for a command that does not read.
const INPUT_BYTES: usize = 64 * 1024;
/// How long the engine may take to know the exit status of a command whose output has ended.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two questions for it.
const STATUS_POLL: Duration = Duration::from_millis(20);

impl DockerEngine {
    /// Runs a command in a running container.
    pub(super) async fn exec_session(
        &self,
        instance: InstanceId,
        command: &[String],
        terminal: bool,
    ) -> Result<Session, EngineError> {
        if command.is_empty() {
            return Err(EngineError::Refused("a command is needed".to_owned()));
        }
        let name = names::container(self.installation(), instance);
        let client = self.client().await?;
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(terminal),
            cmd: Some(command.to_vec()),
            ..Default::default()
        };
        let exec = client
            .docker
            .create_exec(&name, options)
            .await
            .map_err(errors::from_client)?
            .id;
        let target = format!("{}/exec/{exec}/start", client.prefix);
        let body = serde_json::json!({ "Detach": false, "Tty": terminal }).to_string();
        let response = raw::send_soon(
            self.socket(),
            Method::POST,
            &target,
            Some("application/json"),
            raw::Upgrade::Tcp,
            raw::full(body.into()),
        )
        .await?;
        let framing = if terminal { Framing::Plain } else { Framing::Frames };
        Ok(session(response.upgrade().await?, framing, SessionId::Exec(exec)))
    }

    /// Attaches to the main process of a container, best before it is started.
    pub(super) async fn attach_session(&self, instance: InstanceId) -> Result<Session, EngineError> {
        let name = names::container(self.installation(), instance);
        let client = self.client().await?;
        let framing = self.framing_of(&name).await?;
        let query = ["stream", "stdin", "stdout", "stderr"].map(|key| (key, "1".to_owned()));
        let target = raw::path_with_query(&format!("{}/containers/{name}/attach", client.prefix), &query);
        let response = raw::send_soon(
            self.socket(),
            Method::POST,
            &target,
            None,
            raw::Upgrade::Tcp,
            raw::empty(),
        )
        .await?;
        Ok(session(response.upgrade().await?, framing, SessionId::Attach(instance)))
    }

    /// Whether a container has a terminal, which decides how its output is written.
    pub(super) async fn framing_of(&self, name: &str) -> Result<Framing, EngineError> {
        let found = self
            .docker()
            .await?
            .inspect_container(name, None::<InspectContainerOptions>)
            .await
            .map_err(errors::from_client)?;
        let terminal = found.config.and_then(|config| config.tty).unwrap_or(false);
        Ok(if terminal { Framing::Plain } else { Framing::Frames })
    }

    /// Sets the size of a session's terminal.
    pub(super) async fn resize_session(&self, session: &SessionId, columns: u16, rows: u16) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let (columns, rows) = (i32::from(columns), i32::from(rows));
        let resized = match session {
            SessionId::Exec(exec) => {
                docker
                    .resize_exec(exec, ResizeExecOptionsBuilder::new().w(columns).h(rows).build())
                    .await
            }
            SessionId::Attach(instance) => {
                let name = names::container(self.installation(), *instance);
                let options = ResizeContainerTTYOptionsBuilder::new().w(columns).h(rows).build();
                docker.resize_container_tty(&name, options).await
            }
        };
        resized.map_err(errors::from_client)
    }

    /// The exit status of a session whose output has ended.
    pub(super) async fn status_of_session(&self, session: &SessionId) -> Result<i64, EngineError> {
        let deadline = tokio::time::Instant::now() + STATUS_TIMEOUT;
        loop {
            let ended = match session {
                SessionId::Exec(exec) => self.status_of_exec(exec).await?,
                SessionId::Attach(instance) => self.status_of_main(*instance).await?,
            };
            if let Some(status) = ended {
                return Ok(status);
            }
            if tokio::time::Instant::now() > deadline {
                return Err(EngineError::Refused(
                    "the command still runs; its output ended before it did".to_owned(),
                ));
            }
            tokio::time::sleep(STATUS_POLL).await;
        }
    }

    async fn status_of_exec(&self, exec: &str) -> Result<Option<i64>, EngineError> {
        let found = self
            .docker()
            .await?
            .inspect_exec(exec)
            .await
            .map_err(errors::from_client)?;
        Ok(if found.running == Some(true) {
            None
        } else {
            found.exit_code
        })
    }

    async fn status_of_main(&self, instance: InstanceId) -> Result<Option<i64>, EngineError> {
        let name = names::container(self.installation(), instance);
        let found = self
            .docker()
            .await?
            .inspect_container(&name, None::<InspectContainerOptions>)
            .await
            .map_err(errors::from_client)?;
        let state = found.state.unwrap_or_default();
        let ended = matches!(state.status, Some(Status::EXITED | Status::DEAD));
        Ok(if ended { state.exit_code } else { None })
    }
}

/// Both directions of a connection as a session. The input has a task of its own, which closes
/// the command's standard input when the caller drops its end; it ends with the connection.
fn session(connection: TokioIo<Upgraded>, framing: Framing, id: SessionId) -> Session {
    let (reader, mut writer) = tokio::io::split(connection);
    let (input, mut typed) = tokio::io::duplex(INPUT_BYTES);
    tokio::spawn(async move {
        if let Err(error) = tokio::io::copy(&mut typed, &mut writer).await {
            tracing::trace!(%error, "the input of a session ended");
        }
        let _closed_already = writer.shutdown().await;
    });
    let state = (ReaderStream::new(reader), Unframer::new(framing), VecDeque::new());
    let output: BoxStream<_> = Box::pin(futures_util::stream::unfold(
        state,
        |(mut bytes, mut unframer, mut ready)| async move {
            loop {
                if let Some(piece) = ready.pop_front() {
                    return Some((piece, (bytes, unframer, ready)));
                }
                let received: Result<Bytes, std::io::Error> = bytes.next().await?;
                match received {
                    Ok(received) => unframer.push(&received),
                    Err(error) => ready.push_back(Err(EngineError::Unreachable(error.to_string()))),
                }
                loop {
                    match unframer.next() {
                        Ok(Some(piece)) => ready.push_back(Ok(piece)),
                        Ok(None) => break,
                        Err(error) => {
                            ready.push_back(Err(error));
                            break;
                        }
                    }
                }
            }
        },
    ));
    Session {
        input: Box::pin(input),
        output,
        id,
    }
}
