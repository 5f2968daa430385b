use std::sync::Arc;

use weir_engine::docker::DockerMeters;

use crate::failure::{Failure, Result};
use crate::platform::part::{PartOptions, stop_token};
use crate::platform::{installation, prepare, tracing_format};

/// The part that freezes what nobody pays for because the node has died. `weir up` starts it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    options: PartOptions,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    tracing_format::start();
    let data = args.options.platform.data()?;
    prepare::data_folder(&data)?;
    let stop = stop_token(args.options.supervisor)?;
    let installation = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        installation = installation::name(&data) => installation,
    };
    let socket = installation::deadman_socket(&data);
    let meters = Arc::new(DockerMeters::new(installation, None));
    weir_meter::deadman::watch(&socket, &installation::frozen_file(&data), meters, stop)
        .await
        .map_err(|error| Failure::file("listen on", &socket, &error))
}
