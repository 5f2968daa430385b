use std::fs::TryLockError;

use crate::failure::{Failure, Result};
use crate::platform::part::{PartOptions, stop_token};
use crate::platform::{prepare, tracing_format};

/// The part that decides: API, git, builds, desired state. `weir up` starts it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    options: PartOptions,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    tracing_format::start();
    let config = args.options.platform.config()?;
    prepare::data_folder(&config.data)?;
    let stop = stop_token(args.options.supervisor)?;
    // Two that decide would undo each other's work: one of before may still be ending.
    let path = config.data.join("run/control.lock");
    let lock = std::fs::File::create(&path).map_err(|error| Failure::file("open", &path, &error))?;
    while let Err(error) = lock.try_lock() {
        if let TryLockError::Error(error) = error {
            return Err(Failure::file("lock", &path, &error));
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
        }
    }
    let result = weir_control::serve(config, stop).await;
    drop(lock);
    result.map_err(|error| Failure::failed(format!("{error:#}")))
}
