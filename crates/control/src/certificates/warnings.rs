//! Tells contacts of certificates that end without another.

use weir_model::UnixMillis;
use weir_model::project::Domain;

use super::decide::{Held, certificate_of};
use super::names;
use crate::billing;
use crate::context::Context;

const DAY_MS: i64 = 86_400_000;
/// So many days before the end it is told.
const DAYS: [i64; 5] = [1, 3, 7, 14, 30];
/// Ours are renewed long before; below this part of its life something is wrong.
const PART: i64 = 6;

/// Tells of what ends; the same once for each stretch of days.
pub(super) async fn tell(context: &Context, held: &[Held], domains: &[Domain], now_ms: UnixMillis) {
    let all = held;
    for held in all {
        let Some(days) = days_left(held, now_ms) else { continue };
        // Not where another one goes on longer.
        let served = |domain: &&Domain| certificate_of(all, &domain.host).is_some_and(|best| best.id == held.id);
        let mut environments: Vec<_> = domains.iter().filter(served).collect();
        environments.sort_by_key(|domain| (domain.environment, &domain.host));
        environments.dedup_by_key(|domain| domain.environment);
        for domain in environments {
            let message = words(held, &domain.host, days);
            let key = format!("certificate-{}-{}-{days}", held.id, domain.environment);
            if let Err(error) = billing::certificate_ending(context, domain.environment, key, &message).await {
                tracing::warn!(%error, "the end of a certificate could not be told to contacts");
            }
        }
    }
}

/// Within how many days it ends, if that is to be told.
fn days_left(held: &Held, now_ms: UnixMillis) -> Option<i64> {
    let left_ms = held.not_after_ms - now_ms;
    let life_ms = held.not_after_ms - held.not_before_ms;
    if !held.uploaded && left_ms > life_ms / PART {
        return None;
    }
    DAYS.into_iter().find(|days| left_ms <= days * DAY_MS)
}

fn words(held: &Held, host: &str, days: i64) -> String {
    let others = held.names.iter().filter(|name| !names::covers(name, host)).count();
    let others = if others > 0 {
        format!(" and {others} others")
    } else {
        String::new()
    };
    let what = if held.uploaded {
        "the uploaded certificate"
    } else {
        "the certificate"
    };
    let day = if days == 1 {
        "a day".to_owned()
    } else {
        format!("{days} days")
    };
    let next = if held.uploaded {
        "upload the next one"
    } else {
        "its renewal fails"
    };
    format!("{what} of {host}{others} ends within {day}; {next}")
}

#[cfg(test)]
mod tests {
    use weir_model::CertificateId;

    use super::*;

    #[test]
    fn uploaded_ones_are_told_of_early_and_ours_only_when_renewal_fails() {
        let held = |uploaded| Held {
            id: CertificateId::from_parts(0, 1),
            names: vec!["a.example.org".to_owned(), "b.example.org".to_owned()],
            not_before_ms: 0,
            not_after_ms: 90 * DAY_MS,
            renew_ms: None,
            uploaded,
        };
        let at = |uploaded, day: i64| days_left(&held(uploaded), day * DAY_MS);
        assert_eq!(
            [59, 60, 80, 89].map(|day| at(true, day)),
            [None, Some(30), Some(14), Some(1)]
        );
        assert_eq!(
            [60, 74, 75, 76].map(|day| at(false, day)),
            [None, None, Some(30), Some(14)]
        );
        assert_eq!(
            words(&held(true), "a.example.org", 14),
            "the uploaded certificate of a.example.org and 1 others ends within 14 days; upload the next one"
        );
    }
}
