//! The side of a hook that git runs: a short-lived process of the same binary, which hands what
//! git told it to control and shows what control answers. It decides nothing.

use std::io::BufRead as _;
use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;

/// Path of control's socket.
pub(super) const SOCKET: &str = "WEIR_HOOK_SOCKET";
/// Names the push; only its own hooks know it.
pub(super) const KEY: &str = "WEIR_HOOK_KEY";
/// This binary.
pub(super) const PROGRAM: &str = "WEIR_HOOK_PROGRAM";
/// A file that is there if branches are to be deployed one by one.
pub(super) const ONE_BY_ONE: &str = "WEIR_HOOK_ONE_BY_ONE";

/// The hooks. `update` runs for every reference, so it starts nothing unless it must.
pub(super) const SCRIPTS: [(&str, &str); 2] = [
    (
        "pre-receive",
        "#!/bin/sh\nexec \"$WEIR_HOOK_PROGRAM\" git-hook pre-receive\n",
    ),
    (
        "update",
        "#!/bin/sh\n[ -e \"$WEIR_HOOK_ONE_BY_ONE\" ] || exit 0\nexec \"$WEIR_HOOK_PROGRAM\" git-hook update \"$@\"\n",
    ),
];

/// Most references in one push.
const REFERENCES: usize = 1000;
/// Most options of one push.
const OPTIONS: usize = 16;
/// Most bytes that git may say to a hook.
const INPUT_BYTES: u64 = 1 << 20;

/// What a hook asks of control.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HookRequest {
    pub(super) key: String,
    pub(super) references: Vec<ReferenceChange>,
    /// Where the new objects are; none once git has taken them over.
    pub(super) objects: Option<PathBuf>,
    pub(super) alternates: Option<String>,
    /// What `git push -o` said.
    #[serde(default)]
    pub(super) options: Vec<String>,
}

/// One reference that a push wants to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReferenceChange {
    pub(super) old: String,
    pub(super) new: String,
    pub(super) name: String,
}

/// One line of control's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HookAnswer {
    /// To be shown.
    Line(String),
    /// The end.
    End(HookEnd),
}

/// What becomes of the push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HookEnd {
    /// Git goes on.
    Accepted,
    /// Git refuses.
    Rejected,
}

/// Runs a hook: `pre-receive`, with references on standard input, or `update` with reference,
/// old and new value as arguments. Gives the exit status of the process: 0 accepts the push.
pub async fn hook_main(hook: &str, arguments: &[String]) -> i32 {
    let mut errors = tokio::io::stderr();
    match ask(hook, arguments, &mut errors).await {
        Ok(HookEnd::Accepted) => 0,
        Ok(HookEnd::Rejected) => 1,
        Err(reason) => {
            let text = format!(" !     {reason}\n");
            // There is nobody left to tell if even this cannot be written.
            let _ = errors.write_all(text.as_bytes()).await;
            let _ = errors.flush().await;
            1
        }
    }
}

async fn ask(hook: &str, arguments: &[String], errors: &mut tokio::io::Stderr) -> Result<HookEnd, String> {
    let variable =
        |name: &str| std::env::var(name).map_err(|_| format!("this hook is only run by Weir ({name} is not set)"));
    let references = match (hook, arguments) {
        ("pre-receive", []) => references(std::io::stdin().lock())?,
        ("update", [name, old, new]) => {
            vec![ReferenceChange {
                old: old.clone(),
                new: new.clone(),
                name: name.clone(),
            }]
        }
        _ => return Err(format!("`{hook}` is not a hook of Weir")),
    };
    let request = HookRequest {
        key: variable(KEY)?,
        references,
        objects: std::env::var_os("GIT_QUARANTINE_PATH")
            .or_else(|| std::env::var_os("GIT_OBJECT_DIRECTORY"))
            .map(PathBuf::from),
        alternates: std::env::var("GIT_ALTERNATE_OBJECT_DIRECTORIES").ok(),
        options: push_options()?,
    };
    let away =
        |error: &dyn std::fmt::Display| format!("Weir went away ({error}); look with `weir status`, and push again");
    let stream = tokio::net::UnixStream::connect(variable(SOCKET)?)
        .await
        .map_err(|error| away(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| away(&error))?;
    // Ends with the process, which does nothing else.
    tokio::spawn(connection);
    let body = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
    let request = http::Request::post(format!("/hook/{hook}"))
        .header(http::header::HOST, "control")
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| away(&error))?;
    if !response.status().is_success() {
        return Err(format!("Weir refused to talk to its hook ({})", response.status()));
    }
    let mut body = response.into_body();
    let mut rest = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.map_err(|error| away(&error))?.into_data() else {
            continue;
        };
        rest.extend_from_slice(&bytes);
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            match serde_json::from_slice(&line).map_err(|error| away(&error))? {
                HookAnswer::End(end) => return Ok(end),
                HookAnswer::Line(text) => {
                    // One write a line, so that git passes lines on whole.
                    let write = errors.write_all(format!("{text}\n").as_bytes()).await;
                    write.map_err(|error| away(&error))?;
                    errors.flush().await.map_err(|error| away(&error))?;
                }
            }
        }
    }
    Err(away(&"it ended in the middle"))
}

/// Git hands over what `git push -o` said by numbered variables.
fn push_options() -> Result<Vec<String>, String> {
    let Ok(count) = std::env::var("GIT_PUSH_OPTION_COUNT") else {
        return Ok(Vec::new());
    };
    match count.parse::<usize>() {
        Ok(count @ 0..=OPTIONS) => Ok((0..count)
            .filter_map(|index| std::env::var(format!("GIT_PUSH_OPTION_{index}")).ok())
            .collect()),
        _ => Err(format!("a push may have {OPTIONS} options at most")),
    }
}

fn references(input: impl std::io::BufRead) -> Result<Vec<ReferenceChange>, String> {
    let mut references = Vec::new();
    for line in std::io::BufReader::new(input.take(INPUT_BYTES)).lines() {
        let line = line.map_err(|error| format!("git's own words cannot be read: {error}"))?;
        let mut parts = line.splitn(3, ' ').map(ToOwned::to_owned);
        let (Some(old), Some(new), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("git's own words cannot be read".to_owned());
        };
        references.push(ReferenceChange { old, new, name });
        if references.len() > REFERENCES {
            return Err(format!(
                "a push may change {REFERENCES} branches and tags at most; push them in parts"
            ));
        }
    }
    Ok(references)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_git_writes_them() {
        let zero = "0".repeat(40);
        let input = format!("{zero} {} refs/heads/main\n", "a".repeat(40));
        let read = references(input.as_bytes()).unwrap();
        assert_eq!(read[0].name, "refs/heads/main");
        assert_eq!(read[0].old, zero);
        assert!(references("nonsense\n".as_bytes()).is_err());
        assert!(
            references(input.repeat(REFERENCES + 1).as_bytes())
                .unwrap_err()
                .contains("in parts")
        );
    }
}
