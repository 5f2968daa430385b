use weir_ingress::NodeConfig;

use crate::client::chain;
use crate::failure::{Failure, Result};
use crate::platform::part::{PartOptions, stop_token};
use crate::platform::{prepare, tracing_format};

/// The part that carries: the ingress. `weir up` starts it.
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
    let node = NodeConfig::new(config.http, config.node_socket(), config.data.join("routes.json"));
    weir_ingress::run_node(node, stop)
        .await
        .map_err(|error| Failure::failed(chain(&error)))
}
