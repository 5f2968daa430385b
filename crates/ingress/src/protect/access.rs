//! Passwords before an app.
//!
//! Checking one is meant to be slow, so it is done beside the workers, few at a time and each
//! environment in its turn ([`turns`](super::turns)), and what was
//! right is remembered for a while by a keyed hash: neither the password nor anything from which
//! it could be found is kept. Wrong ones are bounded by address before they are checked.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use sha2::{Digest as _, Sha256};
use weir_model::EnvironmentId;
use weir_model::protection::User;

use super::turns::Turns;

/// A password that was right is not checked again for so long.
const REMEMBERED: Duration = Duration::from_secs(300);
/// How many are remembered at most.
const MOST_REMEMBERED: usize = 4096;
/// Longest `Authorization` that is looked at, in bytes; bcrypt reads 72 of a password.
const AUTHORIZATION_BYTES: usize = 1024;

type Tag = [u8; 32];

/// The users of one rule.
#[derive(Debug)]
pub(crate) struct Users {
    users: Vec<User>,
    /// Of all that is in it: whoever is removed, or gets another password, is not remembered.
    fingerprint: Tag,
}

impl Users {
    pub(crate) fn new(users: &[User]) -> Self {
        let mut digest = Sha256::new();
        for user in users {
            for text in [&user.name, &user.hash] {
                digest.update(text.len().to_le_bytes());
                digest.update(text);
            }
        }
        Self {
            users: users.to_vec(),
            fingerprint: digest.finalize().into(),
        }
    }

    /// Whether one of them has this password. For a name that nobody has, as much is worked as for
    /// one that somebody has, so that the time says nothing.
    fn admits(&self, name: &str, password: &str) -> bool {
        let named = self.users.iter().find(|user| user.name == name);
        let Some(user) = named.or(self.users.first()) else {
            return false;
        };
        matches(password, &user.hash) && named.is_some()
    }
}

fn matches(password: &str, hash: &str) -> bool {
    if hash.starts_with("$2") {
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    Argon2::default().verify_password(password.as_bytes(), hash).is_ok()
}

/// What came of a look at somebody's password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong,
    /// There is none.
    Missing,
    /// Too many are being checked.
    Busy,
}

/// Checks passwords and remembers those that were right.
#[derive(Debug)]
pub(crate) struct Passwords {
    key: Tag,
    known: RwLock<Known>,
    turns: Arc<Turns>,
}

/// What was right, by environment, with the instant until which it is remembered.
#[derive(Debug, Default)]
struct Known {
    number: usize,
    environments: HashMap<EnvironmentId, HashMap<Tag, u64>>,
}

impl Known {
    fn until(&self, environment: EnvironmentId, tag: &Tag) -> Option<u64> {
        self.environments.get(&environment)?.get(tag).copied()
    }

    /// Where there is no room, the environment that has most loses what it has used least lately.
    fn insert(&mut self, environment: EnvironmentId, tag: Tag, until_ms: u64) {
        let tags = self.environments.entry(environment).or_default();
        if tags.insert(tag, until_ms).is_some() {
            return;
        }
        self.number += 1;
        if self.number <= MOST_REMEMBERED {
            return;
        }
        let fullest = self.environments.iter_mut().max_by_key(|(_, tags)| tags.len());
        let Some((fullest, tags)) = fullest.map(|(fullest, tags)| (*fullest, tags)) else {
            return;
        };
        // The new one is not the one that goes: its time is the latest.
        let oldest = tags.iter().min_by_key(|(_, until)| **until).map(|(tag, _)| *tag);
        if oldest.is_some_and(|oldest| tags.remove(&oldest).is_some()) {
            self.number -= 1;
        }
        if tags.is_empty() {
            self.environments.remove(&fullest);
        }
    }
}

impl Passwords {
    /// With a key of its own.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(std::io::Error::other)?;
        Ok(Self {
            key,
            known: RwLock::default(),
            turns: Arc::default(),
        })
    }

    /// Whether this was right a moment ago. Who goes on using it is not asked again.
    pub(crate) fn remembers(
        &self,
        environment: EnvironmentId,
        users: &Users,
        authorization: &HeaderValue,
        now_ms: u64,
    ) -> bool {
        let Some((name, password)) = basic(authorization) else {
            return false;
        };
        self.knows(environment, self.tag(users, &name, &password), now_ms)
    }

    fn knows(&self, environment: EnvironmentId, tag: Tag, now_ms: u64) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let until = known.until(environment, &tag);
        drop(known);
        match until.map(|until| until.saturating_sub(now_ms)) {
            None | Some(0) => return false,
            Some(left) if left < remembered_ms() / 2 => self.remember(environment, tag, now_ms),
            Some(_) => {}
        }
        true
    }

    /// Checks what came in `Authorization`.
    pub(crate) async fn check(
        &self,
        environment: EnvironmentId,
        users: &Arc<Users>,
        authorization: Option<&HeaderValue>,
        now_ms: u64,
    ) -> Verdict {
        let Some(authorization) = authorization else {
            return Verdict::Missing;
        };
        let Some((name, password)) = basic(authorization) else {
            return Verdict::Missing;
        };
        let tag = self.tag(users, &name, &password);
        if self.knows(environment, tag, now_ms) {
            return Verdict::Right;
        }
        let Some(turn) = self.turns.take(environment).await else {
            return Verdict::Busy;
        };
        // Somebody who came with the same may just have been found right.
        if self.knows(environment, tag, now_ms) {
            return Verdict::Right;
        }
        let asked = Arc::clone(users);
        // The turn goes along: what was begun takes its time also when the client is gone.
        let checked = tokio::task::spawn_blocking(move || {
            let admitted = asked.admits(&name, &password);
            drop(turn);
            admitted
        });
        if !checked.await.unwrap_or(false) {
            return Verdict::Wrong;
        }
        self.remember(environment, tag, now_ms);
        Verdict::Right
    }

    fn remember(&self, environment: EnvironmentId, tag: Tag, now_ms: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(environment, tag, now_ms.saturating_add(remembered_ms()));
    }

    /// Of what is meant, however it was spelled.
    fn tag(&self, users: &Users, name: &str, password: &str) -> Tag {
        // The key and the fingerprint have a fixed length and no name has a colon, so that nothing
        // can be read in two ways; hashed twice, so that it cannot be continued.
        let inner = Sha256::new()
            .chain_update(self.key)
            .chain_update(users.fingerprint)
            .chain_update(name)
            .chain_update(":")
            .chain_update(password)
            .finalize();
        Sha256::new()
            .chain_update(self.key)
            .chain_update(inner)
            .finalize()
            .into()
    }
}

fn remembered_ms() -> u64 {
    u64::try_from(REMEMBERED.as_millis()).unwrap_or(u64::MAX)
}

/// Name and password (RFC 7617).
fn basic(authorization: &HeaderValue) -> Option<(String, String)> {
    let text = authorization
        .to_str()
        .ok()
        .filter(|text| text.len() <= AUTHORIZATION_BYTES)?;
    let (scheme, code) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = String::from_utf8(STANDARD.decode(code.trim()).ok()?).ok()?;
    let (name, password) = plain.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher as _;

    use super::*;

    fn here() -> EnvironmentId {
        EnvironmentId::from_parts(1, 1)
    }

    fn users() -> Arc<Users> {
        let params = argon2::Params::new(64, 1, 1, None).unwrap();
        let hasher = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let anna = hasher.hash_password_with_salt(b"geheim", b"0123456789abcdef").unwrap();
        let ben = bcrypt::hash("swordfish", 4).unwrap();
        let user = |name: &str, hash: String| User {
            name: name.to_owned(),
            hash,
        };
        Arc::new(Users::new(&[user("anna", anna.to_string()), user("ben", ben)]))
    }

    fn authorization(text: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(text))).unwrap()
    }

    #[tokio::test]
    async fn both_kinds_of_hashes_are_understood_and_nothing_else_is_let_in() {
        let (passwords, users) = (Passwords::new().unwrap(), users());
        let verdict = async |text: &str| passwords.check(here(), &users, Some(&authorization(text)), 0).await;
        assert_eq!(verdict("anna:geheim").await, Verdict::Right);
        assert_eq!(verdict("ben:swordfish").await, Verdict::Right);
        for wrong in [
            "anna:swordfish",
            "ben:geheim",
            "carl:geheim",
            "anna:",
            ":geheim",
            "Anna:geheim",
        ] {
            assert_eq!(verdict(wrong).await, Verdict::Wrong, "{wrong}");
        }
        assert_eq!(passwords.check(here(), &users, None, 0).await, Verdict::Missing);
        for other in ["Bearer abc", "Basic", "Basic ???", "Basic Z2VoZWlt"] {
            let other = HeaderValue::from_static(other);
            assert_eq!(passwords.check(here(), &users, Some(&other), 0).await, Verdict::Missing);
        }
        let nobody = Arc::new(Users::new(&[]));
        let tried = passwords
            .check(here(), &nobody, Some(&authorization("anna:geheim")), 0)
            .await;
        assert_eq!(tried, Verdict::Wrong);
    }

    #[tokio::test]
    async fn what_was_right_is_remembered_for_a_while_and_only_for_these_users() {
        let (passwords, users) = (Passwords::new().unwrap(), users());
        let header = authorization("anna:geheim");
        assert!(!passwords.remembers(here(), &users, &header, 0));
        passwords.check(here(), &users, Some(&header), 0).await;
        assert!(!passwords.remembers(here(), &users, &header, 300_000));
        assert!(passwords.remembers(here(), &users, &authorization("anna:geheim"), 299_999));
        // It was used, and is remembered for longer.
        assert!(passwords.remembers(here(), &users, &header, 599_998));
        assert!(!passwords.remembers(here(), &users, &header, 1_200_000));
        assert!(!passwords.remembers(here(), &users, &authorization("anna:geheimx"), 0));
        let mut fewer = users.users.clone();
        fewer.pop();
        assert!(
            !passwords.remembers(here(), &Users::new(&fewer), &header, 0),
            "others, so another rule"
        );
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let passwords = Passwords::new().unwrap();
        let tag = |number: usize| {
            let mut tag = [0; 32];
            tag[..8].copy_from_slice(&number.to_le_bytes());
            tag
        };
        let other = EnvironmentId::from_parts(1, 2);
        passwords.remember(other, tag(0), 0);
        for number in 0..MOST_REMEMBERED + 500 {
            passwords.remember(here(), tag(number), u64::try_from(number).unwrap() / 100);
        }
        let newest = MOST_REMEMBERED + 499;
        assert!(passwords.knows(here(), tag(newest), 1_000) && passwords.knows(here(), tag(newest - 3_000), 1_000));
        assert!(
            !passwords.knows(here(), tag(0), 1_000),
            "the oldest of the fullest goes"
        );
        assert!(passwords.knows(other, tag(0), 1_000), "nobody else loses anything");
        let known = passwords.known.read().unwrap();
        let sum: usize = known.environments.values().map(HashMap::len).sum();
        assert_eq!((known.number, sum), (MOST_REMEMBERED, MOST_REMEMBERED));
    }
}
