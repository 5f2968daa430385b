//! `weir up --background`: starts a supervisor that has left the terminal, and stays until it is
//! ready or has failed.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::lock::{self, Holder};
use super::options::{DATABASE_VARIABLE, PlatformOptions, SMTP_VARIABLE};
use super::prepare;
use super::ready::{Addresses, is_ready};
use crate::failure::{Failure, Result};
use crate::output::{Spinner, Ui};
use crate::terminal::shell_word;

/// How long the platform may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much of the log is shown when it fails.
const TAIL_BYTES: u64 = 16 << 10;
const TAIL_LINES: usize = 25;

/// The log of a platform in the background.
pub(crate) fn log_file(data: &Path) -> std::path::PathBuf {
    data.join("log/weir.log")
}

/// Starts it unless it runs, and waits until it is ready.
pub(crate) async fn start(options: &PlatformOptions, ui: &Ui) -> Result<()> {
    let data = options.data()?;
    prepare::data_folder(&data)?;
    let running = lock::holder(&data)?;
    let mut options = options.clone();
    let mut child = match running {
        Holder::Nobody => {
            // Here, so that whoever typed the command is told.
            options.settle_https(|words| ui.note(words));
            Some(spawn(&options, &data)?)
        }
        Holder::Process(pid) => {
            ui.note(&format!("Weir runs already (process {pid})"));
            None
        }
    };
    wait(&options, &data, child.as_mut(), ui).await?;
    let addresses = Addresses::of(&options)?;
    ui.result(&addresses, || {
        ui.say(&addresses.text(ui));
        let which = match crate::credentials::default_data_folder() {
            Ok(usual) if usual == data => String::new(),
            _ => format!(" --data {}", shell_word(&data.to_string_lossy())),
        };
        ui.note(&format!(
            "Its log is {}; stop it with `weir down{which}` (the apps go on).",
            log_file(&data).display()
        ));
        Ok(())
    })
}

fn spawn(options: &PlatformOptions, data: &Path) -> Result<Child> {
    let path = log_file(data);
    let log = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|error| Failure::file("open", &path, &error))?;
    let start = || -> std::io::Result<Command> { Ok(Command::new(std::env::current_exe()?)) };
    let cannot =
        |error: std::io::Error| Failure::failed("cannot start Weir in the background").detail(error.to_string());
    let mut command = start().map_err(cannot)?;
    command
        .arg("up")
        .args(options.arguments()?)
        .arg("--detached")
        .current_dir(data);
    if let Some(database) = options.database_variable() {
        command.env(DATABASE_VARIABLE, database);
    }
    if let Some(smtp) = options.smtp_variable() {
        command.env(SMTP_VARIABLE, smtp);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(cannot)
}

async fn wait(options: &PlatformOptions, data: &Path, mut child: Option<&mut Child>, ui: &Ui) -> Result<()> {
    let path = log_file(data);
    let begin = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    let end = Instant::now() + PATIENCE;
    let mut spinner = Spinner::new(ui, "starting Weir");
    loop {
        if is_ready(options).await {
            return Ok(());
        }
        if let Some(child) = child.as_deref_mut()
            && let Ok(Some(status)) = child.try_wait()
        {
            let failure = Failure::failed(format!("Weir did not start ({status})"));
            return Err(failure
                .detail(tail(&path, begin))
                .hint(format!("the whole log is {}", path.display())));
        }
        if Instant::now() > end {
            let failure = Failure::unreachable(format!("Weir is not ready after {} s", PATIENCE.as_secs()));
            return Err(failure
                .detail(tail(&path, begin))
                .hint(format!("it goes on trying; its log is {}", path.display())));
        }
        for _ in 0..2 {
            tokio::time::sleep(Spinner::PERIOD).await;
            spinner.tick();
        }
    }
}

/// The last lines of what was logged behind a position.
fn tail(path: &Path, begin: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        // A file that was put aside meanwhile is shorter than it was.
        let begin = if begin > length { 0 } else { begin };
        file.seek(SeekFrom::Start(begin.max(length.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        "it said nothing".to_owned()
    } else {
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}
