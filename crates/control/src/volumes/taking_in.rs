//! Uploads that are whole get their place in a volume: on a thread that goes on to its end whoever hangs
//! up, and from where it broke off when control was stopped in the middle.

use std::collections::HashSet;
use std::time::Duration;

use weir_engine::files::{Existing, FileError, Tree, TreePath};
use weir_model::{AccountId, EnvironmentId};

use super::{Volume, VolumeError, find};
use crate::context::Context;
use crate::uploads::{self, Purpose, Upload, UploadError};

/// Between two looks for what broke off.
const LOOK: Duration = Duration::from_secs(60);

/// Gives an upload that is whole its place in the volume. Fine if it is not, or has it.
pub(crate) async fn complete(
    context: &Context,
    (account, volume): (AccountId, &Volume),
    upload: &mut Upload,
) -> Result<(), VolumeError> {
    let whole = upload.received().map_err(UploadError::from)? == upload.record.size;
    if upload.record.done.is_some() || !whole {
        return Ok(());
    }
    let writing = match upload.lock() {
        Err(UploadError::NotFound) => return catch_up(upload),
        locked => locked?,
    };
    // Whoever had it before may have come to its end.
    upload.reload()?;
    if upload.record.done.is_some() {
        return Ok(());
    }
    let mut own = upload.clone();
    let work = move |tree: &Tree| {
        let _writing = writing;
        if let Err(error) = take_in(tree, &mut own) {
            if own.record.begun
                && let Err(error) = own.fail()
            {
                tracing::warn!(upload = own.id, %error, "that an upload failed cannot be written down");
            }
            return Err(error);
        }
        Ok(own.record)
    };
    upload.record = context.volumes.run_long(context, (account, volume), work).await?;
    Ok(())
}

/// What was uploaded is not where uploads are: it has its place, or somebody forgets it just now.
fn catch_up(upload: &mut Upload) -> Result<(), VolumeError> {
    upload.reload()?;
    match (&upload.record.purpose, upload.record.begun, &upload.record.done) {
        (_, _, Some(_)) => Ok(()),
        // It was moved there, and Weir was stopped before that was written down.
        (Purpose::File { .. }, true, None) => Ok(upload.finish(Vec::new()).map_err(UploadError::from)?),
        _ => Err(UploadError::NotFound.into()),
    }
}

/// Blocks. That it is done is written down here, whether anybody waits for it or not.
fn take_in(tree: &Tree, upload: &mut Upload) -> Result<(), FileError> {
    let part = upload.part();
    let how = |replace| match (replace, upload.record.begun) {
        (true, _) => Existing::Replace,
        (false, true) => Existing::Resume,
        (false, false) => Existing::Keep,
    };
    match upload.record.purpose.clone() {
        Purpose::File { path, replace, .. } => {
            let (path, how) = (TreePath::parse(&path)?, how(replace));
            upload.begin().map_err(not_written)?;
            tree.take_in(&path, &part, how)?;
            upload.finish(Vec::new()).map_err(not_written)
        }
        Purpose::Tree { path, replace, .. } => {
            let file = std::fs::File::open(&part).map_err(|cause| FileError::Failed {
                what: "the upload cannot be read".to_owned(),
                cause,
            })?;
            let (path, how) = (TreePath::parse(&path)?, how(replace));
            let unpacked = tree.unpack(&path, &file, how, || upload.begin().map_err(not_written))?;
            upload.finish(unpacked.left_out).map_err(not_written)?;
            // It is of no use any more.
            match std::fs::remove_file(&part) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(not_written(error)),
                _ => Ok(()),
            }
        }
        Purpose::Source => Err(FileError::Refused("this upload is a source".to_owned())),
    }
}

fn not_written(cause: std::io::Error) -> FileError {
    FileError::Failed {
        what: "how far the upload is cannot be written down".to_owned(),
        cause,
    }
}

/// Goes on with what broke off when control was stopped, until control is told to stop.
pub async fn go_on(context: Context) {
    // One that fails is not tried again and again: whoever asks for it hears why.
    let mut failed = HashSet::new();
    loop {
        match uploads::interrupted(&context).await {
            Err(error) => tracing::warn!(%error, "uploads that broke off cannot be looked for"),
            Ok(found) => {
                failed.retain(|id| found.iter().any(|(_, upload)| upload.id == *id));
                for (environment, mut upload) in found {
                    if failed.contains(&upload.id) {
                        continue;
                    }
                    match take_up(&context, environment, &mut upload).await {
                        Ok(()) => tracing::info!(upload = upload.id, "an upload that had broken off has its place now"),
                        Err(VolumeError::Busy(_) | VolumeError::Engine(_) | VolumeError::Store(_)) => {}
                        Err(error) => {
                            tracing::warn!(upload = upload.id, %error, "an upload that had broken off gets no place");
                            failed.insert(upload.id);
                        }
                    }
                }
            }
        }
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn take_up(context: &Context, environment: EnvironmentId, upload: &mut Upload) -> Result<(), VolumeError> {
    let name = match &upload.record.purpose {
        Purpose::File { volume, .. } | Purpose::Tree { volume, .. } => volume.clone(),
        Purpose::Source => return Ok(()),
    };
    let found = context.store.environment_by_id(environment).await?;
    let project = match &found {
        Some(found) => context.store.project_by_id(found.project).await?,
        None => None,
    };
    let Some(project) = project else {
        return Err(VolumeError::NotFound(name));
    };
    let volume = find(context, environment, &name).await?;
    complete(context, (project.account, &volume), upload).await
}
