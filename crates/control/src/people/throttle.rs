//! How often somebody may try to sign in, so that passwords cannot be guessed, and so that nobody can
//! be kept out by the failures of others.
//!
//! Pauses belong to who failed, never to whom it was tried with. A source is a known browser of the
//! person (it shows a cookie that it got when she signed in there), or else an address; one that has
//! not failed always has its try. After its first failures a source has to wait, twice as long with
//! each one; the more sources have failed with one person, the sooner and longer. So an attacker with
//! many addresses has few tries with each, and the person gets in from where nobody has failed, and
//! from browsers that she has used before.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use weir_model::{UnixMillis, UserId};

use crate::api::ApiError;

/// Failures of a source that cost nothing.
const FREE: u32 = 4;
/// So many failures of all sources with one person take one of those away from each.
const PRESSURE: u32 = 25;
/// The first pause, and the longest.
const FIRST_MS: i64 = 1_000;
const LONGEST_MS: i64 = 15 * 60_000;
/// Failures are forgotten so long after the last one.
const FORGET_MS: i64 = 3_600_000;
/// Most sources, and people, that are remembered.
const MOST: usize = 20_000;

/// From where somebody tries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// A browser in which this person was signed in before.
    Device(String),
    /// An address; of IPv6 the network, which one owner has.
    Address(IpAddr),
}

impl Source {
    /// The source of an address.
    pub(crate) fn address(peer: IpAddr) -> Self {
        match peer {
            IpAddr::V4(_) => Self::Address(peer),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(mapped) => Self::Address(mapped.into()),
                None => {
                    let network = address.to_bits() >> 64 << 64;
                    Self::Address(std::net::Ipv6Addr::from_bits(network).into())
                }
            },
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Failures {
    count: u32,
    last_ms: UnixMillis,
}

#[derive(Debug, Default)]
struct Memory {
    sources: HashMap<Source, Failures>,
    /// What each source has failed with each person: only that is forgiven when she gets in.
    pairs: HashMap<(Source, UserId), Failures>,
    people: HashMap<UserId, Failures>,
}

/// Who has failed, and how often.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Memory>);

impl Throttle {
    /// Counts a try before it is made, so that many at once are not one. Fails with 429, and the
    /// seconds to wait, while the source has to pause.
    pub(crate) fn begin(&self, source: &Source, user: Option<UserId>, now_ms: UnixMillis) -> Result<(), ApiError> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pressure = user
            .and_then(|user| memory.people.get(&user))
            .filter(|failures| now_ms - failures.last_ms < FORGET_MS)
            .map_or(0, |failures| failures.count);
        let own = memory.sources.get(source).copied().unwrap_or_default();
        if now_ms - own.last_ms < FORGET_MS {
            let wait_ms = own.last_ms + pause_ms(own.count, pressure) - now_ms;
            if own.count > 0 && wait_ms > 0 {
                return Err(paused(wait_ms));
            }
        }
        count(&mut memory.sources, source.clone(), now_ms);
        if let Some(user) = user {
            count(&mut memory.people, user, now_ms);
            count(&mut memory.pairs, (source.clone(), user), now_ms);
        }
        Ok(())
    }

    /// The try was right: what the source has failed with this person is forgiven. What it has failed
    /// with others stays, or one's own account would be the way to guess theirs; and what others have
    /// failed with her stays theirs.
    pub(crate) fn succeeded(&self, source: &Source, user: UserId) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = memory.pairs.remove(&(source.clone(), user));
        let failed = failed.map_or(1, |failures| failures.count);
        if let Some(failures) = memory.sources.get_mut(source) {
            failures.count = failures.count.saturating_sub(failed);
        }
        if let Some(failures) = memory.people.get_mut(&user) {
            failures.count = failures.count.saturating_sub(failed);
        }
    }
}

/// How long a source has to wait that failed so often, when so many have failed with this person.
fn pause_ms(own: u32, pressure: u32) -> i64 {
    let free = FREE.saturating_sub(pressure / PRESSURE);
    if own <= free {
        return 0;
    }
    let doublings = (own - free - 1).min(20);
    (FIRST_MS << doublings).min(LONGEST_MS)
}

fn count<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Failures>, key: K, now_ms: UnixMillis) {
    if map.len() >= MOST && !map.contains_key(&key) {
        map.retain(|_, failures| now_ms - failures.last_ms < FORGET_MS);
        // In favour of those who fail seldom: whoever failed often is remembered.
        let mut least = 1;
        while map.len() >= MOST {
            map.retain(|_, failures| failures.count > least);
            least += 1;
        }
    }
    let failures = map.entry(key).or_default();
    if now_ms - failures.last_ms >= FORGET_MS {
        failures.count = 0;
    }
    failures.count = failures.count.saturating_add(1);
    failures.last_ms = now_ms;
}

fn paused(wait_ms: i64) -> ApiError {
    let mut error = ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-failures",
        "there were too many tries from here",
    );
    let seconds = wait_ms / 1000 + 1;
    error.retry_after_s = u32::try_from(seconds).ok();
    error.with_hint(format!(
        "wait {seconds} s; from another address, or a browser in which you were signed in before, it goes at once"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 10_000_000;

    fn user() -> UserId {
        UserId::from_parts(1, 1)
    }

    fn address(last: u8) -> Source {
        Source::address(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn pauses_grow_and_end() {
        let throttle = Throttle::default();
        for _ in 0..5 {
            throttle.begin(&address(1), Some(user()), NOW).unwrap();
        }
        let wait = |now_ms| {
            throttle
                .begin(&address(1), Some(user()), now_ms)
                .unwrap_err()
                .retry_after_s
        };
        assert_eq!(wait(NOW), Some(2));
        throttle.begin(&address(1), Some(user()), NOW + 1_000).unwrap();
        assert_eq!(wait(NOW + 1_000), Some(3));
        throttle
            .begin(&address(1), Some(user()), NOW + 1_000 + FORGET_MS)
            .unwrap();
        throttle
            .begin(&address(1), Some(user()), NOW + 1_000 + FORGET_MS)
            .unwrap();
        assert_eq!(pause_ms(100, 0), LONGEST_MS);
    }

    #[test]
    fn nobody_is_kept_out_by_the_failures_of_others() {
        let throttle = Throttle::default();
        for attacker in 0..=200 {
            while throttle.begin(&address(attacker), Some(user()), NOW).is_ok() {}
        }
        // From an address that has not failed, and from a known browser behind one that has.
        throttle.begin(&address(250), Some(user()), NOW).unwrap();
        throttle
            .begin(&Source::Device("usr_1.5".to_owned()), Some(user()), NOW)
            .unwrap();
        // But a wrong password costs a pause at once, now that so many have failed with this person.
        assert!(throttle.begin(&address(250), Some(user()), NOW).is_err());
        // With others the same address goes on as before: its one failure was free.
        throttle
            .begin(&address(251), Some(UserId::from_parts(1, 2)), NOW)
            .unwrap();
        throttle
            .begin(&address(251), Some(UserId::from_parts(1, 2)), NOW)
            .unwrap();
    }

    #[test]
    fn who_is_right_starts_anew() {
        let throttle = Throttle::default();
        for _ in 0..4 {
            throttle.begin(&address(1), Some(user()), NOW).unwrap();
        }
        throttle.succeeded(&address(1), user());
        for _ in 0..5 {
            throttle.begin(&address(1), Some(user()), NOW).unwrap();
        }
    }

    #[test]
    fn who_gets_in_as_herself_has_no_more_tries_with_others() {
        let throttle = Throttle::default();
        let herself = UserId::from_parts(1, 2);
        let mut tries = 0;
        for _ in 0..50 {
            tries += u32::from(throttle.begin(&address(1), Some(user()), NOW).is_ok());
            if throttle.begin(&address(1), Some(herself), NOW).is_ok() {
                throttle.succeeded(&address(1), herself);
            }
        }
        assert!(tries <= FREE + 1, "{tries}");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let throttle = Throttle::default();
        for _ in 0..6 {
            _ = throttle.begin(&address(1), None, NOW);
        }
        for number in 0..25_000_u32 {
            _ = throttle.begin(&Source::address(IpAddr::from(number.to_be_bytes())), None, NOW);
        }
        assert!(throttle.0.lock().unwrap().sources.len() <= MOST);
        assert!(
            throttle.begin(&address(1), None, NOW).is_err(),
            "it is not forgotten in favour of others"
        );
        let network = |text: &str| Source::address(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), address(1));
    }
}
