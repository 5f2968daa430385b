//! Uploads that go on where they broke off, proposals of `weir.toml`, and the files of volumes.
//!
//! Paths in volumes are bytes. Here they are texts in which every byte that is no printable ASCII,
//! and `%`, is written as `%XX`; they begin with `/`, the root of the volume.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST …/uploads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUpload {
    /// Bytes in all; 2 GiB at most.
    pub size: u64,
    /// For people: name of the folder or the archive.
    pub name: String,
}

/// `POST …/volumes/{volume}/uploads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateFileUpload {
    /// Bytes in all.
    pub size: u64,
    /// For people: name of the file or the folder.
    pub name: String,
    /// Where it comes.
    pub path: String,
    /// `file`, or `tree`: a tar, plain or gzip, that is unpacked into the folder `path`.
    pub kind: String,
    /// Whether files that are there are replaced; if not, 409 `file-exists`.
    #[serde(default)]
    pub replace: bool,
}

/// An upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    /// Its identity.
    pub id: String,
    /// Bytes in all.
    pub size: u64,
    /// Bytes that are there.
    pub received: u64,
    /// It is forgotten then; every part gives it another day.
    pub expires: String,
    /// What of a `tree` was left out because it is neither a file nor a folder, or because something that
    /// is not to be replaced came there while it was unpacked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// `POST …/uploads/{upload}/deployment`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployUpload {
    /// One line on what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A `weir.toml` that takes the place of the one in the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toml: Option<String>,
    /// The part of the visitors that gets it first, like `5%`; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// Requests with this header get it whatever the part is, like `X-Canary: yes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_header: Option<String>,
}

/// A `weir.toml` for a source, as detection sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proposal {
    /// What was found.
    pub apps: Vec<ProposedApp>,
    /// A whole `weir.toml`.
    pub toml: String,
    /// Why a line stands in it.
    pub explanations: Vec<Explanation>,
    /// The `weir.toml` in the source, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<String>,
    /// What is wrong or missing.
    pub problems: Vec<ProposalProblem>,
    /// What it costs at worst; absent where it cannot be built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<ProposedWorst>,
}

/// An app of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProposedApp {
    /// Its name.
    pub app: String,
    /// Its folder in the source; `.` for the root.
    pub folder: String,
    /// `python`, `node`, `static`, `dockerfile` or `image`.
    pub kind: String,
    /// What was found, and where.
    pub because: String,
}

/// Why a line stands in a `weir.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Which line, from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
}

/// What is wrong or missing in a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProposalProblem {
    /// One line for people.
    pub title: String,
    /// The next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Line of `weir.toml`, from 1, where it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// What instances cost that use all they may, all the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProposedWorst {
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// In an hour.
    pub worst_per_hour: String,
    /// In a month.
    pub worst_per_month: String,
    /// When the tightest cap stops it at the worst; absent where that is not within its period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached_at_worst: Option<String>,
    /// The scope of that cap.
    pub scope: String,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Volume {
    /// As paths of the API name it: the name in `weir.toml`, with the app and a point before it where
    /// several apps have one of that name.
    pub name: String,
    /// The app that has it.
    pub app: String,
    /// Where it is in an instance; empty if no release that is kept has it.
    pub path: String,
    /// `one` or `many`.
    pub writers: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Everything but folders.
    pub files: u64,
    /// `bytes` and `files` are at least these: counting was broken off, or goes on.
    pub at_least: bool,
    /// `bytes` and `files` were counted then.
    pub counted: String,
}

/// Something in a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileEntry {
    /// For people: what is not UTF-8 is replaced.
    pub name: String,
    /// As it is to be sent.
    pub path: String,
    /// `file`, `folder`, `link` or `other`.
    pub kind: String,
    /// Length; 0 for what is no file.
    pub bytes: u64,
    /// When its content was changed last.
    pub modified: String,
    /// In octal, like `0644`.
    pub mode: String,
    /// Where a link leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// A folder of a volume, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Folder {
    /// Where it is.
    pub path: String,
    /// By name.
    pub entries: Vec<FileEntry>,
    /// Whether there is more: ask with `after`, the last part of the last path.
    pub more: bool,
}

/// `POST …/volumes/{volume}/folders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateFolder {
    /// Where; the folder that it is in has to be there.
    pub path: String,
}

/// `POST …/volumes/{volume}/moves`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveFile {
    /// What.
    pub from: String,
    /// Where to; nothing may be there.
    pub to: String,
}
