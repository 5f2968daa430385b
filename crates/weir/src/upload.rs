//! Sending something large in parts that go on where they broke off.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use serde::Serialize;
use weir_api::Upload;

use crate::client::Client;
use crate::failure::{ExitCode, Failure, Result};
use crate::output::{Spinner, Ui, size};

/// Bytes of a part.
const PART_BYTES: u64 = 8 << 20;
/// So often in a row nothing may have come through, with pauses of up to half a minute.
const ATTEMPTS: u32 = 20;

/// Begins an upload at `path` and sends the file to its end, however often the connection breaks.
/// Gives the upload and its path.
pub(crate) async fn send(
    client: &Client,
    ui: &Ui,
    (path, request): (&str, &impl Serialize),
    mut file: std::fs::File,
    length: u64,
) -> Result<(Upload, String)> {
    let mut upload: Upload = client.post(path, request).await?;
    let own = format!("{path}/{}", upload.id);
    let mut spinner = Spinner::new(ui, "sending");
    let mut failures = 0;
    while upload.received < length {
        spinner.set_text(format!("sending, {} of {}", size(upload.received), size(length)));
        spinner.tick();
        let part = part_of(&mut file, upload.received)?;
        let sent = client.append::<Upload>(&own, upload.received, part).await;
        let sent = match sent {
            // How much came through is known there only.
            Err(error) if is_passing(&error) && failures < ATTEMPTS => {
                failures += 1;
                let pause = Duration::from_millis(500) * 2_u32.pow(failures.min(6));
                spinner.set_text(format!("sending; waiting: {error}"));
                spinner.tick();
                tokio::time::sleep(pause).await;
                client.get::<Upload>(&own).await
            }
            sent => sent,
        };
        match sent {
            Ok(now) => {
                if now.received > upload.received {
                    failures = 0;
                }
                upload = now;
            }
            Err(error) if is_passing(&error) && failures < ATTEMPTS => failures += 1,
            Err(error) => return Err(error),
        }
    }
    spinner.clear();
    Ok((upload, own))
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
fn is_passing(error: &Failure) -> bool {
    error.code == ExitCode::Unreachable || matches!(error.kind.as_str(), "upload-offset" | "upload-busy" | "bad-body")
}
