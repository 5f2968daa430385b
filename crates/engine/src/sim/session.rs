//! What simulated instances write, and the few commands that can be run in them.

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio_util::io::ReaderStream;
use weir_model::InstanceId;
use weir_model::log::LogStream;

use crate::{BoxStream, EngineError, InstanceState, OutputChunk, Session, SessionId};

use super::SimEngine;
use super::engine::Wait;

/// So much input is held for a command.
const INPUT_BYTES: usize = 64 * 1024;

/// What an instance writes behind an instant, until it ends.
pub(super) fn output(
    engine: SimEngine,
    instance: InstanceId,
    after_ns: i64,
) -> BoxStream<Result<OutputChunk, EngineError>> {
    Box::pin(futures_util::stream::unfold(
        (engine, 0_usize),
        move |(engine, read)| async move {
            let mut found = None;
            engine
                .wait_until(Wait::Listener, None, |world| {
                    let Some(known) = world.instances.get(&instance) else {
                        return true;
                    };
                    let next = known
                        .written
                        .iter()
                        .enumerate()
                        .skip(read)
                        .find(|(_index, line)| line.at_ns > after_ns);
                    found = next.map(|(index, line)| (index, line.clone()));
                    found.is_some() || matches!(known.state, InstanceState::Exited { .. })
                })
                .await;
            let (index, line) = found?;
            Some((Ok(line), (engine, index + 1)))
        },
    ))
}

/// The main process of an instance: its output as it comes; input is thrown away.
pub(super) fn attach(engine: SimEngine, instance: InstanceId) -> Session {
    let lines = output(engine, instance, 0);
    let output = lines.map(|line| {
        line.map(|chunk| {
            let mut text = chunk.text.to_vec();
            text.push(b'\n');
            (chunk.stream, Bytes::from(text))
        })
    });
    Session {
        input: Box::pin(tokio::io::sink()),
        output: Box::pin(output),
        id: SessionId::Attach(instance),
    }
}

/// Runs `echo WORDS`, `cat`, `true`, `false`, `exit N`, or some of them behind `sh -c` with `;`
/// between them. With a terminal both streams are one.
pub(super) fn exec(engine: SimEngine, id: String, command: &[String], terminal: bool) -> Result<Session, EngineError> {
    let script = match command {
        [] => return Err(EngineError::Refused("a command is needed".to_owned())),
        [shell, flag, script] if shell.ends_with("sh") && flag == "-c" => script.clone(),
        words => words.join(" "),
    };
    if script.trim() == "cat" {
        let (input, typed) = tokio::io::duplex(INPUT_BYTES);
        engine.world().exec_status.insert(id.clone(), 0);
        let output = ReaderStream::new(typed).map(|bytes| {
            bytes
                .map(|bytes| (LogStream::Stdout, bytes))
                .map_err(|error| EngineError::Unreachable(error.to_string()))
        });
        return Ok(Session {
            input: Box::pin(input),
            output: Box::pin(output),
            id: SessionId::Exec(id),
        });
    }
    let (written, status) = interpret(&script);
    engine.world().exec_status.insert(id.clone(), status);
    let output = futures_util::stream::iter(written).map(move |(stream, text)| {
        let stream = if terminal { LogStream::Stdout } else { stream };
        Ok((stream, Bytes::from(text)))
    });
    Ok(Session {
        input: Box::pin(tokio::io::sink()),
        output: Box::pin(output),
        id: SessionId::Exec(id),
    })
}

/// What a script writes, and its status.
fn interpret(script: &str) -> (Vec<(LogStream, String)>, i64) {
    let mut written = Vec::new();
    let mut status = 0;
    for command in script.split(';').map(str::trim) {
        let (command, stream) = match command.strip_suffix(">&2") {
            Some(command) => (command.trim(), LogStream::Stderr),
            None => (command, LogStream::Stdout),
        };
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        match name {
            "" | "true" | ":" => status = 0,
            "false" => status = 1,
            "echo" => {
                written.push((stream, format!("{rest}\n")));
                status = 0;
            }
            "exit" => return (written, rest.trim().parse().unwrap_or(2)),
            _ => {
                written.push((LogStream::Stderr, format!("sh: {name}: not found\n")));
                status = 127;
            }
        }
    }
    (written, status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_write_and_end_with_a_status() {
        let (written, status) = interpret("echo a b; echo c >&2; exit 3");
        assert_eq!(
            written,
            [
                (LogStream::Stdout, "a b\n".to_owned()),
                (LogStream::Stderr, "c\n".to_owned())
            ]
        );
        assert_eq!(status, 3);
        assert_eq!(interpret("nonsense").1, 127);
    }
}
