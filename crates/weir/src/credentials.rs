//! Where Weir is and the token for it: the environment, what `weir login` stored, and on the
//! machine itself the admin token of the default data folder.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};

/// Where Weir is unless somebody says otherwise.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8081";

/// A token; never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    /// Takes it without the white space around it. `None` if nothing is left.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace()))
            .then(|| Self(text.to_owned()))
    }

    /// The token itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What `weir login` stored, by address.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// The address of the latest log-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<String>,
    /// Address to its token.
    #[serde(default)]
    tokens: BTreeMap<String, StoredToken>,
}

#[derive(Serialize, Deserialize)]
struct StoredToken {
    token: String,
}

impl std::fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredToken(…)")
    }
}

impl Stored {
    /// Reads the file; empty if there is none.
    pub(crate) fn read() -> Result<Self> {
        let path = file()?;
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Failure::failed(format!("{} is damaged", path.display()))
                    .detail(error.to_string())
                    .hint("remove the file and log in again: weir login")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::file("read", &path, &error)),
        }
    }

    /// The token for an address.
    pub(crate) fn token(&self, url: &str) -> Option<Token> {
        self.tokens.get(url).and_then(|stored| Token::new(&stored.token))
    }

    /// Keeps a token and makes its address the default.
    pub(crate) fn insert(&mut self, url: &str, token: &Token) {
        self.tokens.insert(
            url.to_owned(),
            StoredToken {
                token: token.expose().to_owned(),
            },
        );
        self.default = Some(url.to_owned());
    }

    /// Forgets a token. Whether there was one.
    pub(crate) fn remove(&mut self, url: &str) -> bool {
        if self.default.as_deref() == Some(url) {
            self.default = None;
        }
        self.tokens.remove(url).is_some()
    }

    /// Replaces the file in one step; only its owner can read it.
    pub(crate) fn write(&self) -> Result<PathBuf> {
        let path = file()?;
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| Failure::file("create", folder, &error))?;
        let text = serde_json::to_vec_pretty(self).map_err(|error| Failure::failed(error.to_string()))?;
        write_private(&path, &text).map_err(|error| Failure::file("write", &path, &error))?;
        Ok(path)
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // A temporary file of `tempfile` has mode 0600 from the beginning.
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(bytes)?;
    temporary
        .as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o600))?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    std::fs::File::open(folder)?.sync_all()
}

fn file() -> Result<PathBuf> {
    let folder = match variable("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => home()?.join(".config"),
    };
    Ok(folder.join("weir/credentials.json"))
}

/// The user's home.
pub(crate) fn home() -> Result<PathBuf> {
    std::env::home_dir()
        .filter(|home| !home.as_os_str().is_empty())
        .ok_or_else(|| {
            Failure::failed("there is no home folder to keep credentials in")
                .hint("set HOME, or use WEIR_URL and WEIR_TOKEN")
        })
}

/// A variable of the environment that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The data folder unless somebody says otherwise: of the system as root, else of the user.
pub(crate) fn default_data_folder() -> Result<PathBuf> {
    if nix::unistd::Uid::effective().is_root() {
        return Ok(PathBuf::from("/var/lib/weir"));
    }
    match variable("XDG_DATA_HOME") {
        Some(folder) => Ok(PathBuf::from(folder).join("weir")),
        None => Ok(home()?.join(".local/share/weir")),
    }
}

/// An address as it is compared and kept: scheme and authority, in lower case, without slash.
pub(crate) fn normal_url(text: &str) -> Result<String> {
    let wrong = |why: &str| {
        Failure::usage(format!("`{text}` cannot be the address of Weir: {why}"))
            .hint(format!("for example {DEFAULT_URL}"))
    };
    let text = text.trim();
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url = reqwest::Url::parse(&text).map_err(|error| wrong(&error.to_string()))?;
    if url.scheme() == "https" {
        return Err(wrong("this version of the CLI speaks plain HTTP only")
            .hint("reach a distant Weir through a tunnel: ssh -N -L 8081:127.0.0.1:8081 SERVER, then use http://127.0.0.1:8081"));
    }
    if url.scheme() != "http" {
        return Err(wrong("it must begin with http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it must not hold a user or a password; use weir login"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it must end after the port"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The token for an address: `WEIR_TOKEN` (if it is meant for this address), what is stored, or
/// the admin token of a Weir on this machine. `None` if there is none.
pub(crate) fn token_for(url: &str) -> Result<Option<Token>> {
    if let Some(text) = variable("WEIR_TOKEN") {
        let meant_for = variable("WEIR_URL").map(|url| normal_url(&url)).transpose()?;
        if meant_for.is_none_or(|meant_for| meant_for == url) {
            let token = Token::new(&text).ok_or_else(|| Failure::usage("WEIR_TOKEN does not hold a token"))?;
            return Ok(Some(token));
        }
    }
    if let Some(token) = Stored::read().unwrap_or_default().token(url) {
        return Ok(Some(token));
    }
    if url != DEFAULT_URL {
        return Ok(None);
    }
    let text = std::fs::read_to_string(default_data_folder()?.join("admin-token")).unwrap_or_default();
    Ok(Token::new(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_in_one_form() {
        assert_eq!(normal_url("127.0.0.1:8081").unwrap(), DEFAULT_URL);
        assert_eq!(normal_url("HTTP://Weir.Example:80/").unwrap(), "http://weir.example");
        for wrong in ["https://a", "ftp://a", "http://u:p@a", "http://a/git", ""] {
            assert!(normal_url(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn a_token_is_not_printed_by_accident() {
        let token = Token::new(" secret\n").unwrap();
        assert_eq!(token.expose(), "secret");
        assert!(!format!("{token:?}").contains("secret"));
        assert!(Token::new("a\nb").is_none());
    }
}
