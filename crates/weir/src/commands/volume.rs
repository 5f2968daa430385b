use std::path::{Path, PathBuf};

use clap::Subcommand;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use weir_api::{Accepted, CreateFileUpload, CreateFolder, FileEntry, Folder, MoveFile, Volume};

use crate::archive;
use crate::client::{Client, with_query};
use crate::commands::destroy::confirm_name;
use crate::commands::people::segment;
use crate::context::PlaceChoice;
use crate::download;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Ui, ago, printable, size};
use crate::session::Session;
use crate::upload;

/// Files of volumes: look, take, put, move and remove, while the application runs or not.
///
/// A place in a volume is written VOLUME:PATH, like data:/photos. Links in volumes are shown and
/// never followed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir volume list\n  weir volume ls data:/photos\n  weir volume get data:/app.db\n  weir volume get data:/photos --format zip\n  weir volume put photos data:/photos --replace\n  weir volume rm data:/photos/old"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the volumes of an environment.
    List {
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Show a folder.
    Ls {
        /// VOLUME or VOLUME:PATH.
        at: String,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Take a file, or a folder as an archive. A file that broke off goes on where it ended.
    Get {
        /// VOLUME or VOLUME:PATH.
        at: String,
        /// Where to; its own name in this folder if absent.
        to: Option<PathBuf>,
        /// How a folder is packed: tar, tar.gz or zip.
        #[arg(long, default_value = "tar.gz", value_parser = ["tar", "tar.gz", "zip"])]
        format: String,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Put a file, or a folder with all that is in it.
    Put {
        /// The file or folder here.
        from: PathBuf,
        /// VOLUME:PATH.
        to: String,
        /// Replace files that are there.
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Make a folder.
    Mkdir {
        /// VOLUME:PATH.
        at: String,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Move or rename, within a volume.
    Mv {
        /// VOLUME:PATH.
        from: String,
        /// The new path in the same volume.
        to: String,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Remove a file, or a folder with all that is in it.
    Rm {
        /// VOLUME:PATH.
        at: String,
        /// Ask nothing.
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        place: PlaceChoice,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let client = session.client()?;
    let ui = &session.ui;
    match args.action {
        Action::List { place } => {
            let volumes: Vec<Volume> = client.get(&place.resolve()?.path("/volumes")).await?;
            ui.result(&volumes, || show_volumes(ui, &volumes))
        }
        Action::Ls { at, place } => ls(ui, &client, &Spot::read(&at, &place)?).await,
        Action::Get { at, to, format, place } => {
            get(ui, &client, &Spot::read(&at, &place)?, to.as_deref(), &format).await
        }
        Action::Put {
            from,
            to,
            replace,
            place,
        } => put(ui, &client, &from, &Spot::read(&to, &place)?, replace).await,
        Action::Mkdir { at, place } => {
            let spot = Spot::read(&at, &place)?;
            let made: FileEntry = client
                .post(
                    &spot.path("/folders"),
                    &CreateFolder {
                        path: spot.file.clone(),
                    },
                )
                .await?;
            ui.result(&made, || ui.data(&printable(&made.path)))
        }
        Action::Mv { from, to, place } => {
            let spot = Spot::read(&from, &place)?;
            let request = MoveFile {
                from: spot.file.clone(),
                to: encoded(&to)?,
            };
            client.post::<Option<()>>(&spot.path("/moves"), &request).await?;
            ui.result(&request, || ui.data(&printable(&request.to)))
        }
        Action::Rm { at, yes, place } => rm(ui, &client, &Spot::read(&at, &place)?, yes).await,
    }
}

/// A place in a volume.
struct Spot {
    /// Path of the volume in the API.
    volume: String,
    /// Name of the volume.
    name: String,
    /// As the API writes it.
    file: String,
}

impl Spot {
    fn read(text: &str, place: &PlaceChoice) -> Result<Self> {
        let (name, file) = text.split_once(':').unwrap_or((text, "/"));
        let place = place.resolve()?;
        Ok(Self {
            volume: place.path(&format!("/volumes/{}", segment(name))),
            name: name.to_owned(),
            file: encoded(file)?,
        })
    }

    fn path(&self, rest: &str) -> String {
        format!("{}{rest}", self.volume)
    }

    fn with_path(&self, rest: &str) -> String {
        with_query(&self.path(rest), &[("path", self.file.clone())])
    }

    /// The last part of the path, as people read it.
    fn last(&self) -> String {
        let last = self.file.rsplit('/').next().unwrap_or_default();
        let bytes: Vec<u8> = percent_decoded(last);
        match String::from_utf8_lossy(&bytes).replace('/', "_") {
            name if name.is_empty() || name == "." || name == ".." => self.name.clone(),
            name => name,
        }
    }
}

/// A path as the API writes it: what is not printable ASCII, and `%`, as `%XX`. One that the API has
/// written is left as it is.
fn encoded(path: &str) -> Result<String> {
    if !path.starts_with('/') {
        return Err(
            Failure::usage(format!("`{path}` does not begin with /")).hint("write VOLUME:/PATH, like data:/photos")
        );
    }
    let path = path.trim_end_matches('/');
    let mut text = String::with_capacity(path.len());
    for (at, byte) in path.bytes().enumerate() {
        let code = path
            .get(at + 1..at + 3)
            .is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if (0x21..0x7f).contains(&byte) && (byte != b'%' || code) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(if text.is_empty() { "/".to_owned() } else { text })
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((byte, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code
            .and_then(|code| u8::from_str_radix(code, 16).ok())
            .filter(|_| *byte == b'%')
        {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
    bytes
}

fn show_volumes(ui: &Ui, volumes: &[Volume]) -> Result<()> {
    let row = |one: &Volume| -> Vec<Cell> {
        let least = if one.at_least { "\u{2265} " } else { "" };
        vec![
            one.name.as_str().into(),
            one.app.as_str().into(),
            one.path.as_str().into(),
            one.writers.as_str().into(),
            format!("{least}{}", size(one.bytes)).into(),
            format!("{least}{}", one.files).into(),
        ]
    };
    let rows: Vec<Vec<Cell>> = volumes.iter().map(row).collect();
    let headers = ["VOLUME", "APP", "AT", "WRITERS", "SIZE", "FILES"];
    ui.table(
        &headers,
        &rows,
        "no volume exists; they are made when an instance that has one starts",
    )
}

async fn ls(ui: &Ui, client: &Client, spot: &Spot) -> Result<()> {
    let mut all: Option<Folder> = None;
    loop {
        let mut query = vec![("path", spot.file.clone())];
        let last = all.as_ref().and_then(|folder| folder.entries.last());
        query.extend(last.map(|last| ("after", last.path.rsplit('/').next().unwrap_or_default().to_owned())));
        let mut next: Folder = client.get_query(&spot.path("/files"), &query).await?;
        if let Some(mut before) = all.take() {
            before.entries.append(&mut next.entries);
            before.more = next.more;
            next = before;
        }
        let more = next.more;
        all = Some(next);
        if !more {
            break;
        }
    }
    let Some(folder) = all else { return Ok(()) };
    ui.result(&folder, || {
        let rows: Vec<Vec<Cell>> = folder.entries.iter().map(row).collect();
        ui.table(&["MODE", "SIZE", "MODIFIED", "NAME"], &rows, "the folder is empty")
    })
}

fn row(entry: &FileEntry) -> Vec<Cell> {
    let name = printable(&entry.name);
    let name = match (entry.kind.as_str(), &entry.target) {
        ("folder", _) => format!("{name}/"),
        (_, Some(target)) => format!("{name} -> {}", printable(target)),
        _ => name,
    };
    let bytes = if entry.kind == "file" {
        size(entry.bytes)
    } else {
        String::new()
    };
    vec![
        entry.mode.as_str().into(),
        bytes.into(),
        ago(&entry.modified).into(),
        name.into(),
    ]
}

/// Takes a file, or a folder where it is one.
async fn get(ui: &Ui, client: &Client, spot: &Spot, to: Option<&Path>, format: &str) -> Result<()> {
    let probe = [("path", spot.file.clone()), ("limit", "1".to_owned())];
    let is_folder = match client.get_query::<Folder>(&spot.path("/files"), &probe).await {
        Ok(_) => true,
        Err(error) if error.kind == "not-a-folder" => false,
        Err(error) => return Err(error),
    };
    let name = if is_folder {
        format!("{}.{format}", spot.last())
    } else {
        spot.last()
    };
    let to = to.map_or_else(
        || PathBuf::from(&name),
        |to| if to.is_dir() { to.join(&name) } else { to.to_owned() },
    );
    let bytes = if is_folder {
        let query = [("path", spot.file.clone()), ("format", format.to_owned())];
        take_archive(client, &with_query(&spot.path("/archive"), &query), &to).await?
    } else {
        download::take(client, ui, &spot.with_path("/content"), &to).await?
    };
    let shown = to.display().to_string();
    ui.result(&serde_json::json!({ "file": shown, "bytes": bytes }), || {
        ui.data(&shown)
    })
}

/// Takes what is packed while it is sent, and so is never twice the same: it comes whole or anew.
async fn take_archive(client: &Client, path: &str, to: &Path) -> Result<u64> {
    let part = to.with_file_name(format!("{}.part", to.file_name().unwrap_or_default().to_string_lossy()));
    let response = client.download(path).await?;
    let cannot = |error: std::io::Error| Failure::file("write", &part, &error);
    let mut file = tokio::fs::File::create(&part).await.map_err(cannot)?;
    let mut pieces = response.bytes_stream();
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            let broke = Failure::unreachable("the connection broke").detail(crate::client::chain(&error));
            broke.hint("what came so far is not whole; take it again")
        })?;
        file.write_all(&piece).await.map_err(cannot)?;
        bytes += piece.len() as u64;
    }
    file.flush().await.map_err(cannot)?;
    std::fs::rename(&part, to).map_err(|error| Failure::file("write", to, &error))?;
    Ok(bytes)
}

async fn put(ui: &Ui, client: &Client, from: &Path, spot: &Spot, replace: bool) -> Result<()> {
    let facts = std::fs::metadata(from).map_err(|error| Failure::file("read", from, &error))?;
    let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (file, length) = match facts.is_dir() {
        true => archive::pack_everything(from)?,
        false => {
            let file = std::fs::File::open(from).map_err(|error| Failure::file("read", from, &error))?;
            (file, facts.len())
        }
    };
    let request = CreateFileUpload {
        size: length,
        name,
        path: spot.file.clone(),
        kind: if facts.is_dir() { "tree" } else { "file" }.to_owned(),
        replace,
    };
    let path = spot.path("/uploads");
    let (upload, _) = upload::send(client, ui, (path.as_str(), &request), file, length).await?;
    for name in &upload.left_out {
        ui.note(&format!(
            "left out, because it is neither a file nor a folder, or came there meanwhile: {}",
            printable(name)
        ));
    }
    ui.result(&upload, || ui.data(&format!("{} is there", printable(&request.path))))
}

async fn rm(ui: &Ui, client: &Client, spot: &Spot, yes: bool) -> Result<()> {
    let name = spot.last();
    confirm_name(
        ui,
        &format!("{}:{}, with all that is in it", spot.name, spot.file),
        &name,
        (yes, "--yes"),
    )?;
    let query = [("path", spot.file.clone()), ("confirm", name)];
    let removed: Accepted = client.delete(&with_query(&spot.path("/files"), &query)).await?;
    ui.result(&removed, || {
        ui.note(&printable(&removed.message));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_the_api_writes_them() {
        assert_eq!(encoded("/").unwrap(), "/");
        assert_eq!(encoded("/a b/").unwrap(), "/a%20b");
        assert_eq!(encoded("/\u{e9}").unwrap(), "/%C3%A9");
        assert_eq!(encoded("/50%").unwrap(), "/50%25");
        assert_eq!(encoded("/%FF").unwrap(), "/%FF");
        assert!(encoded("a").is_err());
        assert_eq!(percent_decoded("a%20b%"), b"a b%");
    }
}
