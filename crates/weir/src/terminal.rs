//! The terminal that the CLI itself runs in, and commands at Weir that are attached to it.

use std::io::{IsTerminal as _, Read as _};

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use weir_api::SessionMessage;

use crate::client::{Frame, Terminal};
use crate::failure::{ExitCode, Failure, Result};
use crate::session::Session;

/// Most bytes of output that `--json` collects.
const COLLECTED_BYTES: usize = 16 << 20;
/// Pieces of input that wait for the connection.
const QUEUE: usize = 16;

/// Runs something while the terminal does not show what is typed.
pub(crate) fn without_echo<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let stdin = std::io::stdin();
    let Ok(before) = tcgetattr(&stdin) else { return work() };
    let mut quiet = before.clone();
    quiet.local_flags.remove(LocalFlags::ECHO);
    let _ = tcsetattr(&stdin, SetArg::TCSAFLUSH, &quiet);
    let result = work();
    let _ = tcsetattr(&stdin, SetArg::TCSAFLUSH, &before);
    result
}

/// Whether a command gets a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Keys, colours, sizes.
    Terminal,
    /// Pipes; standard output and standard error stay apart.
    Pipes,
}

impl Mode {
    /// A terminal where both ends are one.
    pub(crate) fn of_surroundings() -> Self {
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            Self::Terminal
        } else {
            Self::Pipes
        }
    }

    /// What to tell Weir.
    pub(crate) fn query(self) -> Vec<(&'static str, String)> {
        // A terminal without a window (a serial line, some tools) has no size.
        let size = crossterm::terminal::size()
            .ok()
            .filter(|(columns, rows)| *columns > 1 && *rows > 1);
        match (self, size) {
            (Self::Pipes, _) => Vec::new(),
            (Self::Terminal, None) => vec![("terminal", "true".to_owned())],
            (Self::Terminal, Some((columns, rows))) => {
                vec![
                    ("terminal", "true".to_owned()),
                    ("columns", columns.to_string()),
                    ("rows", rows.to_string()),
                ]
            }
        }
    }
}

/// Puts the terminal back when dropped, also in a panic.
struct RawMode;

impl RawMode {
    fn enable() -> Result<Self> {
        crossterm::terminal::enable_raw_mode()
            .map_err(|error| Failure::failed("cannot use the terminal").detail(error.to_string()))?;
        Ok(Self)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// With `--json`: what the command did.
#[derive(Debug, Default, Serialize)]
struct Collected {
    status: i64,
    stdout: String,
    stderr: String,
}

/// Connects a command to our own streams until it ends, and gives its exit status.
pub(crate) async fn attach(session: &Session, mut terminal: Terminal, mode: Mode) -> Result<ExitCode> {
    let raw = match mode {
        Mode::Terminal => Some(RawMode::enable()?),
        Mode::Pipes => None,
    };
    let mut collected = session.ui.is_json().then(|| (Vec::new(), Vec::new()));
    let status = pump(&mut terminal, mode, &mut collected).await;
    drop(raw);
    let status = status?;
    terminal.close().await;
    if let Some((stdout, stderr)) = collected {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        session.ui.json(&Collected {
            status,
            stdout: text(stdout),
            stderr: text(stderr),
        })?;
    }
    Ok(match u8::try_from(status) {
        Ok(0) => ExitCode::Ok,
        Ok(status) => ExitCode::Command(status),
        // Whatever it was, it was not good.
        Err(_) => ExitCode::Failed,
    })
}

async fn pump(terminal: &mut Terminal, mode: Mode, collected: &mut Option<(Vec<u8>, Vec<u8>)>) -> Result<i64> {
    let mut input = read_input();
    let mut open = true;
    let mut resized = signal(SignalKind::window_change()).map_err(|error| Failure::failed(error.to_string()))?;
    loop {
        tokio::select! {
            frame = terminal.next() => match frame? {
                Some(Frame::Stdout(bytes)) => write(&bytes, collected.as_mut().map(|(stdout, _)| stdout), &mut std::io::stdout().lock())?,
                Some(Frame::Stderr(bytes)) => write(&bytes, collected.as_mut().map(|(_, stderr)| stderr), &mut std::io::stderr().lock())?,
                Some(Frame::Message(SessionMessage::Exit { status })) => return Ok(status),
                Some(Frame::Message(SessionMessage::Error { message })) => return Err(Failure::failed(message)),
                Some(Frame::Message(_)) => {}
                None => return Err(Failure::unreachable("the connection ended before the command did")),
            },
            bytes = input.recv(), if open => match bytes {
                Some(bytes) => terminal.send_input(bytes).await?,
                None => {
                    open = false;
                    terminal.send_message(&SessionMessage::Eof).await?;
                }
            },
            _ = resized.recv(), if mode == Mode::Terminal => {
                if let Ok((columns, rows)) = crossterm::terminal::size() {
                    terminal.send_message(&SessionMessage::Resize { columns, rows }).await?;
                }
            }
        }
    }
}

fn write(bytes: &[u8], collected: Option<&mut Vec<u8>>, stream: &mut impl std::io::Write) -> Result<()> {
    match collected {
        Some(all) => {
            let room = COLLECTED_BYTES.saturating_sub(all.len());
            all.extend_from_slice(&bytes[..bytes.len().min(room)]);
            Ok(())
        }
        None => stream
            .write_all(bytes)
            .and_then(|()| stream.flush())
            .map_err(Failure::from),
    }
}

/// Reads standard input on a thread of its own: a read cannot be given up, and must not keep the
/// process from ending.
fn read_input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count) = stdin.read(&mut buffer) {
            if count == 0 || sender.blocking_send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A command line for `/bin/sh -c`: one argument is one already, several are quoted so that the
/// command gets just these.
pub(crate) fn command_line(words: &[String]) -> String {
    match words {
        [line] => line.clone(),
        words => words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" "),
    }
}

/// A word as a POSIX shell reads it back.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte));
    if plain {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_a_shell_would_read_more_into_them() {
        assert_eq!(shell_word("/usr/bin/weir"), "/usr/bin/weir");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's"), "'it'\\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn one_argument_is_a_command_line_and_several_are_words() {
        assert_eq!(command_line(&["echo $HOME | wc".to_owned()]), "echo $HOME | wc");
        assert_eq!(command_line(&["echo".to_owned(), "$HOME".to_owned()]), "echo '$HOME'");
    }
}
