use clap::Subcommand;
use weir_api::{CachePurged, CacheStatus, PurgeCache};

use crate::context::PlaceChoice;
use crate::failure::Result;
use crate::output::{Ui, size};
use crate::session::Session;

/// Answers that Weir keeps because they say that they may be shared: how many, how often they helped,
/// and having them forgotten.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  weir cache\n  weir cache purge\n  weir cache purge --path '/img/*'\n  weir cache purge --host shop.example.org --path /prices -p shop"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    place: PlaceChoice,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Have answers forgotten; all of the environment if nothing is named. Done once every node has
    /// confirmed it.
    Purge {
        /// Only under this host.
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// Only this path, with any query; with * at its end everything that begins so.
        #[arg(long, value_name = "PATH")]
        path: Option<String>,
        #[command(flatten)]
        place: PlaceChoice,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let ui = &session.ui;
    let client = session.client()?;
    match args.action {
        None => {
            let place = args.place.resolve()?;
            let status: CacheStatus = client.get(&place.path("/cache")).await?;
            ui.result(&status, || show(ui, &status))
        }
        Some(Action::Purge { host, path, place }) => {
            let place = place.resolve()?;
            let what = PurgeCache { host, path };
            let purged: CachePurged = client.post(&place.path("/cache/purge"), &what).await?;
            ui.result(&purged, || ui.data(&words(&what)))
        }
    }
}

fn words(what: &PurgeCache) -> String {
    match (&what.host, &what.path) {
        (None, None) => "all kept answers are forgotten".to_owned(),
        (Some(host), None) => format!("the kept answers of {host} are forgotten"),
        (None, Some(path)) => format!("the kept answers to {path} are forgotten"),
        (Some(host), Some(path)) => format!("the kept answers of {host} to {path} are forgotten"),
    }
}

fn show(ui: &Ui, status: &CacheStatus) -> Result<()> {
    let rate = status.hit_rate.map_or_else(
        || "nothing was asked for yet that may be kept".to_owned(),
        |rate| format!("{:.1} %", rate * 100.0),
    );
    ui.data(&format!(
        "kept         {} answers, {} of memory, {} on disk\n\
         hit rate     {rate}\n\
         hits         {}\n\
         misses       {}\n\
         stale        {}\n\
         revalidated  {}",
        status.entries,
        size(status.bytes),
        size(status.disk_bytes),
        status.hits,
        status.misses,
        status.stale,
        status.revalidated
    ))
}
