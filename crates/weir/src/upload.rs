//! Sending something large in parts that go on where they broke off.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::{Duration, Instant};

use serde::Serialize;
use weir_api::Upload;

use crate::client::{BUSY, Client};
use crate::failure::{ExitCode, Failure, Result};
use crate::output::{Spinner, Ui, size};

/// Bytes of a part.
const PART_BYTES: u64 = 8 << 20;
/// So often in a row nothing may have come through, with pauses of up to half a minute.
const ATTEMPTS: u32 = 20;
/// What was sent is unpacked by somebody for so long at most, or waits for its turn.
const BUSY_PATIENCE: Duration = Duration::from_secs(3600);
/// Between two questions meanwhile, longer and longer; each is written down in the audit log.
const BUSY_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_BUSY_PAUSE: Duration = Duration::from_secs(30);

/// Begins an upload at `path` and sends the file to its end, however often the connection breaks.
/// Gives the upload and its path. Where that fails, or is interrupted, the upload is forgotten.
pub(crate) async fn send(
    client: &Client,
    ui: &Ui,
    (path, request): (&str, &impl Serialize),
    file: std::fs::File,
    length: u64,
) -> Result<(Upload, String)> {
    let upload: Upload = client.post(path, request).await?;
    let own = format!("{path}/{}", upload.id);
    let sent = tokio::select! {
        sent = send_parts(client, ui, (&own, upload), file, length) => sent,
        _ = tokio::signal::ctrl_c() => Err(Failure::interrupted("the upload was broken off")),
    };
    match sent {
        Ok(upload) => Ok((upload, own)),
        Err(error) => {
            forget(client, ui, &own).await;
            Err(error)
        }
    }
}

/// Has an upload forgotten that is of no use any more: an environment has few of them at once.
pub(crate) async fn forget(client: &Client, ui: &Ui, own: &str) {
    match client.delete_once(own).await {
        Ok(()) => {}
        Err(error) if error.code == ExitCode::NotFound => {}
        Err(error) => ui.note(&format!("what was uploaded is kept for a day: {error}")),
    }
}

async fn send_parts(
    client: &Client,
    ui: &Ui,
    (own, mut upload): (&str, Upload),
    mut file: std::fs::File,
    length: u64,
) -> Result<Upload> {
    let mut spinner = Spinner::new(ui, "sending");
    let mut failures = 0;
    let mut came = Instant::now();
    let mut busy = BUSY_PAUSE;
    while upload.received < length {
        spinner.set_text(format!("sending, {} of {}", size(upload.received), size(length)));
        spinner.tick();
        let part = part_of(&mut file, upload.received)?;
        let mut sent = client.append::<Upload>(own, upload.received, part).await;
        // How much came through is known there only.
        while let Err(error) = sent {
            let pause = match error.kind.as_str() {
                BUSY | "upload-busy" if came.elapsed() < BUSY_PATIENCE => {
                    let pause = busy;
                    busy = (busy * 2).min(LONGEST_BUSY_PAUSE);
                    pause
                }
                _ if is_passing(&error) && failures < ATTEMPTS => {
                    failures += 1;
                    Duration::from_millis(500) * 2_u32.pow(failures.min(6))
                }
                _ => return Err(error),
            };
            spinner.set_text(format!("sending; waiting: {error}"));
            spinner.tick();
            tokio::time::sleep(pause).await;
            sent = client.get::<Upload>(own).await;
        }
        let now = sent?;
        if now.received > upload.received {
            (failures, came, busy) = (0, Instant::now(), BUSY_PAUSE);
        }
        upload = now;
    }
    spinner.clear();
    Ok(upload)
}

fn part_of(file: &mut std::fs::File, from: u64) -> Result<Vec<u8>> {
    file.seek(SeekFrom::Start(from))?;
    let mut part = Vec::new();
    file.take(PART_BYTES).read_to_end(&mut part)?;
    if part.is_empty() {
        return Err(Failure::failed("the file became shorter while it was sent").hint("send it again"));
    }
    Ok(part)
}

/// Whether trying again may help.
pub(crate) fn is_passing(error: &Failure) -> bool {
    error.code == ExitCode::Unreachable || matches!(error.kind.as_str(), "upload-offset" | "bad-body")
}
