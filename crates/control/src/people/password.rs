//! Passwords of people: argon2id, worked out beside the threads that serve, a few at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::{Argon2, PasswordVerifier as _};
use http::StatusCode;
use tokio::sync::{OnceCell, Semaphore};

use crate::api::ApiError;
use crate::protecting;
use crate::secrets::{Secret, hex, random_bytes};

/// Worked out at once, and waiting for it at most.
const AT_ONCE: usize = 2;
const WAITING: usize = 20;
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
    waiting: AtomicUsize,
    /// Checked for people that do not exist, so that the time says nothing.
    dummy: OnceCell<String>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: AtomicUsize::new(0),
            dummy: OnceCell::new(),
        }
    }
}

impl Passwords {
    /// Whether the password is right. Where there is no hash, as much is worked, and it is wrong.
    pub(crate) async fn is_right(&self, hash: Option<&str>, password: &Secret) -> Result<bool, ApiError> {
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
        let right = self.work(move || {
            Ok(Argon2::default()
                .verify_password(password.expose().as_bytes(), hash.as_str())
                .is_ok())
        });
        Ok(right.await? && known)
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<String, ApiError> {
        let password = Secret::new(password.expose().to_owned());
        self.work(move || protecting::fresh_hash(password.expose())).await
    }

    async fn dummy(&self) -> Result<String, ApiError> {
        let make = || async { self.hash(&Secret::new(hex(&random_bytes::<16>()))).await };
        self.dummy.get_or_try_init(make).await.cloned()
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, ApiError> {
        let _waits = Waits::begin(&self.waiting)?;
        let place = self.places.clone().acquire_owned().await.map_err(ApiError::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            // The place is free when the work is done, not when nobody waits for it any more.
            let _place = place;
            work()
        });
        done.await.map_err(ApiError::internal)?.map_err(ApiError::internal)
    }
}

/// One that waits, for as long as it does.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(count: &'a AtomicUsize) -> Result<Self, ApiError> {
        let waits = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) < WAITING + AT_ONCE {
            return Ok(waits);
        }
        let mut error = ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "passwords-busy",
            "too many passwords are being checked",
        );
        error.retry_after_s = Some(2);
        Err(error.with_hint("try again in a moment"))
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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

    #[tokio::test]
    async fn a_password_is_right_or_wrong_and_nobody_has_none() {
        let passwords = Passwords::default();
        let secret = |text: &str| Secret::new(text.to_owned());
        let hash = passwords.hash(&secret("four words of no use")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(
            passwords
                .is_right(Some(&hash), &secret("four words of no use"))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .is_right(Some(&hash), &secret("four words of any use"))
                .await
                .unwrap()
        );
        assert!(!passwords.is_right(None, &secret("four words of no use")).await.unwrap());
    }

    #[tokio::test]
    async fn who_waits_is_bounded() {
        let passwords = Passwords::default();
        let slow = || {
            passwords.work(|| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                Ok(())
            })
        };
        let many = futures_util::future::join_all((0..40).map(|_| slow())).await;
        let refused = many.iter().filter(|answer| answer.is_err()).count();
        assert_eq!(refused, 40 - WAITING - AT_ONCE);
        assert!(slow().await.is_ok(), "places are free again");
    }
}
