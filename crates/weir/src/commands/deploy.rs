use std::path::PathBuf;

use futures_util::StreamExt as _;
use serde::Serialize;
use tokio_util::io::ReaderStream;
use weir_api::{Accepted, CreateUpload, DeployUpload, EnvironmentStatus, Task};

use crate::archive;
use crate::client::{Client, with_query};
use crate::context::{Place, PlaceChoice};
use crate::failure::{Failure, Result};
use crate::follow::{self, Waiting};
use crate::output::{Look, Spinner, Ui, size};
use crate::session::Session;
use crate::upload;

/// Archives that are larger are sent in parts.
const IN_PARTS_BYTES: u64 = 32 << 20;

/// Build and deploy a folder, without git.
///
/// Everything in it is sent, but for what .gitignore and .weirignore name and `.git`. The build
/// and the deployment are followed; the exit code says how they ended, so this is also the way
/// for CI.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir deploy\n  weir deploy site --project shop --env staging\n  weir deploy --canary 5%\n  WEIR_URL=… WEIR_TOKEN=… weir deploy --project shop --message \"build $CI_COMMIT_SHA\""
)]
pub(crate) struct Args {
    /// The folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// One line on what it is, for `weir releases`; otherwise the commit, where there is git.
    #[arg(long, short)]
    message: Option<String>,
    /// Give it only a part of the visitors first, like 5%, beside the release that serves; then
    /// `weir canary`.
    #[arg(long, value_name = "SHARE")]
    canary: Option<String>,
    /// Requests with this header get it whatever the share is, like "X-Canary: yes".
    #[arg(long, value_name = "HEADER")]
    canary_header: Option<String>,
    #[command(flatten)]
    place: PlaceChoice,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Serialize)]
struct Deployed {
    #[serde(flatten)]
    task: Task,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<i64>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    let client = session.client()?;
    let message = args.message.clone().or_else(|| commit_of(&args.folder));
    let mut query = Vec::new();
    for (name, value) in [
        ("message", message),
        ("canary", args.canary),
        ("canary_header", args.canary_header),
    ] {
        query.extend(value.map(|value| (name, value)));
    }
    let accepted = send(session, &client, &place, args.folder, &query).await?;
    let ui = &session.ui;
    let Some(task) = accepted.task.as_deref().filter(|_| !args.waiting.detach) else {
        return follow::finish(session, &client, accepted, args.waiting, |_| Ok(())).await;
    };
    let task = follow::follow(ui, &client, task).await?;
    if follow::outcome(&task).is_err() {
        if ui.is_json() {
            ui.json(&task)?;
        }
        return follow::outcome(&task);
    }
    let status: EnvironmentStatus = client.get(&place.path("")).await?;
    let deployed = Deployed {
        task,
        url: status.environment.url,
        release: status.environment.release,
    };
    ui.result(&deployed, || ui.data(&deployed.url))
}

async fn send(
    session: &Session,
    client: &Client,
    place: &Place,
    folder: PathBuf,
    query: &[(&str, String)],
) -> Result<Accepted> {
    // Before minutes of packing and sending: does the place exist, and may we?
    let _: EnvironmentStatus = client.get(&place.path("")).await?;
    let ui = &session.ui;
    let archive = pack(ui, folder).await?;
    let arrow = ui.err(Look::Link, "----->");
    ui.note(&format!(
        "{arrow} Sending {}, {} ({} packed)",
        count(archive.files),
        size(archive.bytes),
        size(archive.length)
    ));
    if archive.length > IN_PARTS_BYTES {
        return in_parts(session, client, place, archive, query).await;
    }
    let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(archive.file), 64 << 10).boxed();
    let mut spinner = Spinner::new(ui, "sending");
    let path = with_query(&place.path("/source"), query);
    let mut sending = std::pin::pin!(client.upload(
        &path,
        "application/gzip",
        archive.length,
        reqwest::Body::wrap_stream(pieces)
    ));
    loop {
        tokio::select! {
            accepted = &mut sending => return accepted,
            () = tokio::time::sleep(Spinner::PERIOD) => spinner.tick(),
        }
    }
}

/// Packs a folder as it is deployed.
pub(crate) async fn pack(ui: &Ui, folder: PathBuf) -> Result<archive::Archive> {
    let mut spinner = Spinner::new(ui, format!("packing {}", folder.display()));
    let mut packing = tokio::task::spawn_blocking(move || archive::pack(&folder));
    let packed = loop {
        tokio::select! {
            packed = &mut packing => break packed,
            () = tokio::time::sleep(Spinner::PERIOD) => spinner.tick(),
        }
    };
    spinner.clear();
    packed.map_err(|error| Failure::failed("packing stopped").detail(error.to_string()))?
}

/// Sends what is large in parts, which go on where the connection broke.
async fn in_parts(
    session: &Session,
    client: &Client,
    place: &Place,
    archive: archive::Archive,
    query: &[(&str, String)],
) -> Result<Accepted> {
    let value = |wanted: &str| {
        query
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value.clone())
    };
    let request = CreateUpload {
        size: archive.length,
        name: value("message").unwrap_or_else(|| "upload".to_owned()),
    };
    let path = place.path("/uploads");
    let (_, own) = upload::send(
        client,
        &session.ui,
        (path.as_str(), &request),
        archive.file,
        archive.length,
    )
    .await?;
    let deployment = DeployUpload {
        message: value("message"),
        toml: None,
        canary: value("canary"),
        canary_header: value("canary_header"),
    };
    let accepted = client.post(&format!("{own}/deployment"), &deployment).await;
    // It has another name for the build by now, or is of no use.
    upload::forget(client, &session.ui, &own).await;
    accepted
}

fn count(files: u64) -> String {
    if files == 1 {
        "1 file".to_owned()
    } else {
        format!("{files} files")
    }
}

/// The commit of the folder, if it is one's own work tree of git.
fn commit_of(folder: &std::path::Path) -> Option<String> {
    let folder = folder.to_str()?;
    crate::context::git_output(&["-C", folder, "log", "-1", "--format=%h %s"]).filter(|text| !text.is_empty())
}
