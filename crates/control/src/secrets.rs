//! Secrets at rest: sealed with XChaCha20-Poly1305 under the key in `DIR/secret-key`.
//!
//! The place where a sealed text belongs (environment and name) is bound into it, so that a
//! row that is copied somewhere else in the database does not open there. Whoever has the
//! database without the key file has no secret; whoever loses the key file loses the secrets.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, OsRng, Payload, rand_core::RngCore};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use weir_model::project::Variable;
use weir_model::{EnvironmentId, VariableName};

/// Begins every sealed text, so that another way of sealing can be told from this one.
const VERSION: &str = "v1:";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Why a secret could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key file cannot be read or written.
    #[error("the key file {path} cannot be used: {reason}")]
    KeyFile {
        /// Path of the key file.
        path: String,
        /// What is the matter with it.
        reason: String,
    },
    /// The text was not sealed with this key for this place.
    #[error(
        "the secret {0} cannot be opened: the file secret-key is not the one that it was sealed with. Set the secret again"
    )]
    NotOpened(String),
}

/// A value that must not be shown; its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself. Every use of this is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The value itself, taken out.
    pub fn into_exposed(self) -> String {
        self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Seals and opens secrets with the key in `DIR/secret-key`; cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    fingerprint_key: [u8; KEY_BYTES],
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(hidden)")
    }
}

impl Sealer {
    /// Reads the key, or creates it with mode 0600 on the first start.
    pub fn open_or_create(path: &Path) -> Result<Self, SecretError> {
        let failed = |reason: String| SecretError::KeyFile {
            path: path.display().to_string(),
            reason,
        };
        match std::fs::read(path) {
            Ok(bytes) => {
                let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice())
                    .map_err(|_| failed(format!("it has {} bytes instead of {KEY_BYTES}", bytes.len())))?;
                Ok(Self::from_key(key))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut key = [0_u8; KEY_BYTES];
                OsRng.fill_bytes(&mut key);
                write_private(path, &key).map_err(|error| failed(error.to_string()))?;
                Ok(Self::from_key(key))
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// A sealer with a given key.
    pub fn from_key(key: [u8; KEY_BYTES]) -> Self {
        let fingerprint_key = Sha256::new()
            .chain_update(b"weir fingerprint")
            .chain_update(key)
            .finalize()
            .into();
        Self {
            cipher: XChaCha20Poly1305::new(&key.into()),
            fingerprint_key,
        }
    }

    /// Seals the value of a variable of an environment: `v1:` and base64.
    pub fn seal(&self, environment: EnvironmentId, name: &VariableName, value: &str) -> Result<String, SecretError> {
        self.seal_text(&place_of(environment, name), value)
    }

    /// Opens what [`Sealer::seal`] gave, for the same environment and name only.
    pub fn open(&self, environment: EnvironmentId, name: &VariableName, sealed: &str) -> Result<Secret, SecretError> {
        self.open_text(&place_of(environment, name), sealed)
    }

    /// The value of a variable as the app sees it, secret or not.
    pub fn value_of(&self, environment: EnvironmentId, variable: &Variable) -> Result<Secret, SecretError> {
        if variable.secret {
            self.open(environment, &variable.name, &variable.value)
        } else {
            Ok(Secret::new(variable.value.clone()))
        }
    }

    /// Seals a text that belongs to a place, named in words that never change.
    pub fn seal_text(&self, place: &str, text: &str) -> Result<String, SecretError> {
        let mut nonce = [0_u8; NONCE_BYTES];
        OsRng.fill_bytes(&mut nonce);
        let payload = Payload {
            msg: text.as_bytes(),
            aad: place.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_| SecretError::NotOpened(place.to_owned()))?;
        Ok(format!(
            "{VERSION}{}",
            STANDARD_NO_PAD.encode([nonce.as_slice(), &sealed].concat())
        ))
    }

    /// Opens what [`Sealer::seal_text`] gave, for the same place only.
    pub fn open_text(&self, place: &str, sealed: &str) -> Result<Secret, SecretError> {
        let opened = sealed
            .strip_prefix(VERSION)
            .and_then(|text| STANDARD_NO_PAD.decode(text).ok())
            .filter(|bytes| bytes.len() > NONCE_BYTES)
            .and_then(|bytes| {
                let (nonce, message) = bytes.split_at(NONCE_BYTES);
                let payload = Payload {
                    msg: message,
                    aad: place.as_bytes(),
                };
                self.cipher.decrypt(XNonce::from_slice(nonce), payload).ok()
            })
            .and_then(|bytes| String::from_utf8(bytes).ok());
        opened
            .map(Secret)
            .ok_or_else(|| SecretError::NotOpened(place.replace('\0', " ")))
    }

    /// A hash that only this Weir can compute, in hex: equal for equal bytes, and no help to
    /// somebody who has the database and guesses at short secrets.
    pub fn fingerprint(&self, parts: &[&[u8]]) -> String {
        let mut hash = Sha256::new().chain_update(self.fingerprint_key);
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        hex(&hash.finalize())
    }
}

fn place_of(environment: EnvironmentId, name: &VariableName) -> String {
    format!("{environment}\0{name}")
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Random bytes from the operating system.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// Writes a file that only its owner can read: to a temporary name first, synced, renamed, and
/// the folder synced, so that it is there whole or not at all.
pub fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    // A leftover of a crash may have another mode.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        Sealer::from_key([7; KEY_BYTES])
    }

    #[test]
    fn a_sealed_secret_opens_only_in_its_place() {
        let (here, there) = (EnvironmentId::from_parts(1, 1), EnvironmentId::from_parts(1, 2));
        let (name, other) = (
            VariableName::new("API_KEY").unwrap(),
            VariableName::new("OTHER").unwrap(),
        );
        let sealed = sealer().seal(here, &name, "hunter2").unwrap();
        assert!(sealed.starts_with("v1:") && !sealed.contains("hunter2"));
        assert_eq!(sealer().open(here, &name, &sealed).unwrap().expose(), "hunter2");
        assert!(sealer().open(there, &name, &sealed).is_err());
        assert!(sealer().open(here, &other, &sealed).is_err());
        assert!(Sealer::from_key([8; KEY_BYTES]).open(here, &name, &sealed).is_err());
        for damaged in ["", "v1:", "v1:%%", "v2:AAAA", "hunter2"] {
            assert!(sealer().open(here, &name, damaged).is_err());
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = Secret::new("hunter2".to_owned());
        assert!(!format!("{secret:?} {:?}", sealer()).contains("hunter2"));
    }

    #[test]
    fn the_key_file_is_private_and_survives() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret-key");
        let sealed = Sealer::open_or_create(&path)
            .unwrap()
            .seal_text("place", "text")
            .unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            Sealer::open_or_create(&path)
                .unwrap()
                .open_text("place", &sealed)
                .unwrap()
                .expose(),
            "text"
        );
        std::fs::write(&path, b"short").unwrap();
        assert!(
            Sealer::open_or_create(&path)
                .unwrap_err()
                .to_string()
                .contains("5 bytes instead of 32")
        );
    }

    #[test]
    fn fingerprints_tell_where_a_part_ends() {
        assert_ne!(
            sealer().fingerprint(&[b"ab", b"c"]),
            sealer().fingerprint(&[b"a", b"bc"])
        );
    }
}
