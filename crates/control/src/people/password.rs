//! Passwords of people: argon2id, worked out beside the threads that serve, a few at a time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::{Argon2, PasswordVerifier as _};
use http::StatusCode;
use tokio::sync::{OnceCell, Semaphore};

use super::throttle::Source;
use crate::api::ApiError;
use crate::protecting;
use crate::secrets::{Secret, hex, random_bytes};

/// Worked out at once, and at most under way at one time: of all; of these, of one source.
const AT_ONCE: usize = 2;
const MOST: usize = 22;
const MOST_OF_ONE: usize = 4;
/// So many more, for browsers in which somebody was signed in before: strangers cannot fill these places.
const MOST_KNOWN: usize = 10;
/// Shortest password in characters, longest in bytes.
const SHORTEST: usize = 12;
const LONGEST_BYTES: usize = 512;
/// The most used of those that are long enough, in lower case; and what is only made of them.
const COMMON: &[&str] = &[
    "123456789012",
    "1234567890123",
    "12345678901234",
    "password1234",
    "password12345",
    "passwordpassword",
    "qwertyuiopas",
    "qwertyuiop123",
    "qwerty123456",
    "qwertyqwerty",
    "iloveyou1234",
    "administrator",
    "changemechangeme",
    "changeme1234",
    "letmein12345",
    "welcome12345",
    "correcthorsebatterystaple",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "abcdefghijkl",
    "abcd1234abcd",
    "000000000000",
    "111111111111",
    "йцукенгшщзхъ",
];

/// Works out hashes.
#[derive(Debug)]
pub struct Passwords {
    places: Arc<Semaphore>,
    under_way: Mutex<HashMap<Turn, usize>>,
    /// Checked for people that do not exist, so that the time says nothing.
    dummy: OnceCell<String>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            under_way: Mutex::default(),
            dummy: OnceCell::new(),
        }
    }
}

impl Passwords {
    /// Whether the password is right. Where there is no hash, as much is worked, and it is wrong. Fails
    /// with 503 where too many are being checked, of all or of this source.
    pub(crate) async fn is_right(
        &self,
        source: &Source,
        hash: Option<&str>,
        password: &Secret,
    ) -> Result<bool, ApiError> {
        // No password is so long; as much is worked as for any other.
        let fits = password.expose().len() <= LONGEST_BYTES;
        let known = hash.is_some() && fits;
        let hash = match hash {
            Some(hash) => hash.to_owned(),
            None => self.dummy().await?,
        };
        let password = Secret::new(if fits {
            password.expose().to_owned()
        } else {
            String::new()
        });
        let right = self.work(Turn::of(source), move || {
            Ok(Argon2::default()
                .verify_password(password.expose().as_bytes(), hash.as_str())
                .is_ok())
        });
        Ok(right.await? && known)
    }

    /// The hash of a new password. Fails with 503 where too many are being checked.
    pub(crate) async fn hash(&self, source: &Source, password: &Secret) -> Result<String, ApiError> {
        let password = Secret::new(password.expose().to_owned());
        let make = move || protecting::fresh_hash(password.expose());
        self.work(Turn::of(source), make).await
    }

    async fn dummy(&self) -> Result<String, ApiError> {
        let make = || self.work(Turn::Own, || protecting::fresh_hash(&hex(&random_bytes::<16>())));
        self.dummy.get_or_try_init(make).await.cloned()
    }

    async fn work<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, ApiError> {
        let _waits = Waits::begin(&self.under_way, turn)?;
        let place = self.places.clone().acquire_owned().await.map_err(ApiError::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            // The place is free when the work is done, not when nobody waits for it any more.
            let _place = place;
            work()
        });
        done.await.map_err(ApiError::internal)?.map_err(ApiError::internal)
    }
}

/// Whose turn it is. All known browsers of one person are one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Turn {
    /// Weir's own.
    Own,
    /// That of a person, in a browser in which she was signed in before.
    Person(String),
    /// That of an address.
    Address(IpAddr),
}

impl Turn {
    fn of(source: &Source) -> Self {
        match source {
            Source::Address(address) => Self::Address(*address),
            // A known browser is called by its person first.
            Source::Device(claim) => Self::Person(claim.split('.').next().unwrap_or_default().to_owned()),
        }
    }
}

/// One that waits, for as long as it does.
struct Waits<'a> {
    under_way: &'a Mutex<HashMap<Turn, usize>>,
    turn: Turn,
}

impl<'a> Waits<'a> {
    fn begin(under_way: &'a Mutex<HashMap<Turn, usize>>, turn: Turn) -> Result<Self, ApiError> {
        let mut all = lock(under_way);
        let most = match turn {
            Turn::Address(_) => MOST,
            Turn::Person(_) | Turn::Own => MOST + MOST_KNOWN,
        };
        let of_one = all.get(&turn).copied().unwrap_or_default();
        if of_one >= MOST_OF_ONE || all.values().sum::<usize>() >= most {
            let mut error = ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "passwords-busy",
                "too many passwords are being checked",
            );
            error.retry_after_s = Some(2);
            return Err(error.with_hint("try again in a moment"));
        }
        all.insert(turn.clone(), of_one + 1);
        drop(all);
        Ok(Self { under_way, turn })
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut all = lock(self.under_way);
        if let Some(of_one) = all.get_mut(&self.turn) {
            *of_one -= 1;
            if *of_one == 0 {
                all.remove(&self.turn);
            }
        }
    }
}

fn lock(under_way: &Mutex<HashMap<Turn, usize>>) -> MutexGuard<'_, HashMap<Turn, usize>> {
    // What it guards is changed in single steps, so it is good after a panic too.
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a password is not taken.
pub(crate) fn check(password: &str, email: &str) -> Result<(), ApiError> {
    let weak = |words: String| {
        Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "weak-password", words)
            .with_hint("a few words that do not belong together are easy to keep in mind and hard to guess"))
    };
    if password.chars().count() < SHORTEST || password.len() > LONGEST_BYTES {
        return weak(format!(
            "a password has {SHORTEST} characters at least, and {LONGEST_BYTES} bytes at most"
        ));
    }
    let lower = password.to_lowercase();
    let different: std::collections::BTreeSet<char> = lower.chars().collect();
    let user = email.split('@').next().unwrap_or_default();
    if COMMON.contains(&lower.as_str()) || different.len() < 4 || lower == email || lower == user {
        return weak("this password is one of the first that are tried".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_that_are_tried_first_are_not_taken() {
        for weak in [
            "short",
            "Password1234",
            "aaaaaaaaaaaabc",
            "anna@example.org",
            &"x".repeat(600),
        ] {
            assert_eq!(
                check(weak, "anna@example.org").unwrap_err().kind,
                "weak-password",
                "{weak}"
            );
        }
        assert!(check("four words of no use", "anna@example.org").is_ok());
        assert!(check("два слова и ещё", "anna@example.org").is_ok());
    }

    fn address(last: u8) -> Source {
        Source::address(IpAddr::from([192, 0, 2, last]))
    }

    #[tokio::test]
    async fn a_password_is_right_or_wrong_and_nobody_has_none() {
        let passwords = Passwords::default();
        let secret = |text: &str| Secret::new(text.to_owned());
        let hash = passwords
            .hash(&address(1), &secret("four words of no use"))
            .await
            .unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(
            passwords
                .is_right(&address(1), Some(&hash), &secret("four words of no use"))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .is_right(&address(1), Some(&hash), &secret("four words of any use"))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .is_right(&address(1), None, &secret("four words of no use"))
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn who_waits_is_bounded_for_each_source_and_for_all() {
        let passwords = Passwords::default();
        let slow = |source: Source| {
            passwords.work(Turn::of(&source), || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                Ok(())
            })
        };
        let refused = async |sources: Vec<Source>| {
            let many = futures_util::future::join_all(sources.into_iter().map(slow)).await;
            many.iter().filter(|answer| answer.is_err()).count()
        };
        // One source leaves places to others, be it a person with many known browsers.
        let device = |number: usize| Source::Device(format!("usr_1.{number}"));
        let mut sources = vec![address(1); 40];
        sources.extend((0..40).map(device));
        sources.push(address(2));
        assert_eq!(refused(sources).await, 80 - 2 * MOST_OF_ONE);
        // Many addresses leave places to known browsers.
        let mut sources: Vec<Source> = (0..40).map(address).collect();
        sources.push(device(1));
        assert_eq!(refused(sources).await, 40 - MOST);
        assert_eq!(refused(vec![address(1)]).await, 0, "places are free again");
    }
}
