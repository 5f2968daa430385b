//! Taking something large that goes on where it broke off, in this run or the next.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName};
use reqwest::{Response, StatusCode};
use tokio::io::AsyncWriteExt as _;

use crate::client::{Client, chain};
use crate::failure::{Failure, Result};
use crate::output::{Spinner, Ui, size};
use crate::upload::is_passing;

/// So often in a row nothing may have come, with pauses of up to half a minute.
const ATTEMPTS: u32 = 8;

/// What came of a file so far: `NAME.part` beside its place, with the tag of the file that it is of in
/// `NAME.part.tag`.
struct Part {
    path: PathBuf,
    tag_path: PathBuf,
    file: tokio::fs::File,
    length: u64,
    tag: Option<String>,
}

/// Where an answer goes on, and how long the whole is.
enum Answer {
    /// From its beginning.
    Whole { length: Option<u64>, tag: Option<String> },
    /// From where the part ends.
    Rest { length: u64 },
    /// There is nothing behind the part.
    Nothing { length: Option<u64> },
}

/// Takes a file that keeps its content to its end, however often the connection breaks. Gives its length.
pub(crate) async fn take(client: &Client, ui: &Ui, path: &str, to: &Path) -> Result<u64> {
    let mut part = Part::open(to).await?;
    if part.length > 0 {
        ui.note(&format!("going on behind the first {}", size(part.length)));
    }
    let mut spinner = Spinner::new(ui, "taking");
    let mut failures = 0;
    loop {
        let before = part.length;
        let Err(error) = take_more(client, path, &mut part, &mut spinner).await else {
            break;
        };
        if part.length != before {
            failures = 0;
        }
        if !is_passing(&error) || failures == ATTEMPTS {
            spinner.clear();
            return Err(match part.length {
                0 => error,
                length => error.hint(format!(
                    "{} came, and are in {}: the same command goes on from there",
                    size(length),
                    part.path.display()
                )),
            });
        }
        failures += 1;
        spinner.set_text(format!("taking; waiting: {error}"));
        spinner.tick();
        tokio::time::sleep(Duration::from_millis(250) * 2_u32.pow(failures)).await;
    }
    spinner.clear();
    part.finish(to)
}

/// Takes what is missing, until the connection breaks.
async fn take_more(client: &Client, path: &str, part: &mut Part, spinner: &mut Spinner) -> Result<()> {
    let response = match (part.length, &part.tag) {
        (1.., Some(tag)) => client.download_rest(path, part.length, tag).await?,
        _ => client.download(path).await?,
    };
    let length = match answer_of(&response, part.length)? {
        Answer::Rest { length } => Some(length),
        Answer::Nothing { length } if length == Some(part.length) => return Ok(()),
        Answer::Nothing { .. } => {
            part.begin(None).await?;
            return Err(broke("the file became shorter while it was taken"));
        }
        Answer::Whole { length, tag } => {
            part.begin(tag).await?;
            length
        }
    };
    let mut pieces = response.bytes_stream();
    let came = loop {
        match pieces.next().await {
            None => break Ok(()),
            Some(Err(error)) => break Err(broke(&chain(&error))),
            Some(Ok(piece)) => {
                let written = part.file.write_all(&piece).await;
                written.map_err(|error| Failure::file("write", &part.path, &error))?;
                part.length += piece.len() as u64;
                spinner.set_text(match length {
                    Some(length) => format!("taking, {} of {}", size(part.length), size(length)),
                    None => format!("taking, {}", size(part.length)),
                });
                spinner.tick();
            }
        }
    };
    let flushed = part.file.flush().await;
    flushed.map_err(|error| Failure::file("write", &part.path, &error))?;
    came?;
    match length {
        Some(length) if length != part.length => Err(broke(&format!("{} of {length} bytes came", part.length))),
        _ => Ok(()),
    }
}

fn broke(why: &str) -> Failure {
    Failure::unreachable("the connection broke").detail(why)
}

fn header(response: &Response, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

fn answer_of(response: &Response, from: u64) -> Result<Answer> {
    let range = header(response, CONTENT_RANGE).and_then(|text| text.strip_prefix("bytes "));
    let parts = range.and_then(|range| range.split_once('/'));
    let whole = parts.and_then(|(_, whole)| whole.parse().ok());
    match response.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => Ok(Answer::Nothing { length: whole }),
        StatusCode::PARTIAL_CONTENT => {
            let first = parts.and_then(|(range, _)| range.split_once('-')?.0.parse::<u64>().ok());
            match whole.filter(|_| first == Some(from)) {
                Some(length) => Ok(Answer::Rest { length }),
                None => Err(Failure::failed("another part came than the one that was asked for")
                    .hint("remove what came so far, the file that ends in .part, and try again")),
            }
        }
        _ => Ok(Answer::Whole {
            length: header(response, CONTENT_LENGTH).and_then(|text| text.parse().ok()),
            tag: header(response, ETAG).map(ToOwned::to_owned),
        }),
    }
}

impl Part {
    async fn open(to: &Path) -> Result<Self> {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let path = to.with_file_name(format!("{name}.part"));
        let tag_path = to.with_file_name(format!("{name}.part.tag"));
        let cannot = |error: std::io::Error| Failure::file("write", &path, &error);
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(
                    Failure::conflict(format!("another command writes {} at the moment", path.display()))
                        .hint("let that one come to its end, or name another file"),
                );
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        let length = file.metadata().map_err(cannot)?.len();
        let tag = std::fs::read_to_string(&tag_path).ok();
        let mut part = Self {
            path,
            tag_path,
            file: tokio::fs::File::from_std(file),
            length,
            tag,
        };
        if part.tag.is_none() {
            // Nobody knows what it is of.
            part.begin(None).await?;
        }
        Ok(part)
    }

    /// Begins anew with the file of this tag.
    async fn begin(&mut self, tag: Option<String>) -> Result<()> {
        let cannot = |error: std::io::Error| Failure::file("write", &self.path, &error);
        self.file.set_len(0).await.map_err(cannot)?;
        self.length = 0;
        match &tag {
            Some(tag) => std::fs::write(&self.tag_path, tag).map_err(cannot)?,
            None => remove(&self.tag_path)?,
        }
        self.tag = tag;
        Ok(())
    }

    fn finish(self, to: &Path) -> Result<u64> {
        std::fs::rename(&self.path, to).map_err(|error| Failure::file("write", to, &error))?;
        remove(&self.tag_path)?;
        Ok(self.length)
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::file("remove", path, &error)),
        _ => Ok(()),
    }
}
