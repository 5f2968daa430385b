//! Tells an outside billing system of usage, invoices and credit notes.
//!
//! What it says is not believed: a record that it has taken is `unconfirmed` until it was read back
//! and shows the same identity, amount and content. What is missing or different then is sent
//! again under the same key. Nothing is given up silently: what cannot be proven in two weeks is
//! `failed`, told to the contacts of the account, and tried again when somebody asks for it.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;
use weir_api::{RecordShown, SetOutside};
use weir_ledger::Nano;
use weir_model::UnixMillis;
use weir_store::{BillingRecord, RecordState, RecordStep, Store};

use super::call::{self, Answer, Call, Trust};
use super::topups::{check_secret, new_secret};
use super::{address, news, records, signature};
use crate::api::ApiError;
use crate::context::Context;
use crate::secrets::{Secret, hex};

const SETTING: &str = "billing.outside";
const PLACE: &str = "billing\0outside";
/// How often it is looked for something to send.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked for something new to tell.
const GATHER_MS: i64 = 60_000;
/// Between a record that was taken and the first look whether it is there.
const READ_BACK_MS: i64 = 2_000;
/// Pauses after the first failed attempts, in seconds; the last one goes on.
const PAUSES_S: [i64; 8] = [5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600];
/// A record that was tried for longer has failed when an attempt fails.
const PATIENCE_MS: i64 = 14 * 86_400_000;
/// Records that are tried in one round, and at the same time.
const ROUND: i64 = 64;
const AT_ONCE: usize = 8;
/// How much is kept of what the outside system said.
const WORDS: usize = 200;

/// The outside billing system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outside {
    /// Records are put below it.
    pub url: String,
    /// It may lead to the machine itself and to private networks.
    pub private: bool,
    /// What was used, or became final, from then on is told.
    pub since_ms: UnixMillis,
    /// Sealed.
    secret: String,
}

/// The system that is told, if there is one.
pub async fn outside(store: &Store) -> Result<Option<Outside>, ApiError> {
    match store.setting_get(SETTING).await? {
        Some(text) => serde_json::from_str(&text).map_err(ApiError::internal),
        None => Ok(None),
    }
}

/// Tells a system from now on. Returns the secret if one was made.
pub async fn set_outside(context: &Context, wanted: &SetOutside) -> Result<(Outside, Option<Secret>), ApiError> {
    address::check_url(&wanted.url, wanted.allow_private).map_err(|words| {
        ApiError::invalid(words).with_hint(
            "what is on this machine or in a private network has to be allowed: `weir billing outside URL --allow-private`",
        )
    })?;
    let before = outside(&context.store).await?;
    let since_ms = match (&wanted.since, &before) {
        (Some(text), _) => parse_since(text)?,
        (None, Some(before)) => before.since_ms,
        (None, None) => context.clock.now_ms(),
    };
    let seal = |secret: &Secret| context.sealer.seal_text(PLACE, secret.expose());
    let (sealed, made) = match (&wanted.secret, before) {
        (Some(secret), _) => (seal(&check_secret(secret)?)?, None),
        (None, Some(before)) => (before.secret, None),
        (None, None) => {
            let secret = new_secret();
            (seal(&secret)?, Some(secret))
        }
    };
    let outside = Outside {
        url: wanted.url.clone(),
        private: wanted.allow_private,
        since_ms,
        secret: sealed,
    };
    let text = serde_json::to_string(&outside).map_err(ApiError::internal)?;
    context.store.setting_set(SETTING, &text).await?;
    Ok((outside, made))
}

/// Tells nobody any more. What was not sent waits.
pub async fn unset_outside(store: &Store) -> Result<(), ApiError> {
    Ok(store.setting_set(SETTING, "null").await?)
}

fn parse_since(text: &str) -> Result<UnixMillis, ApiError> {
    let shown: String = text.chars().take(40).collect();
    let instant = text.parse::<jiff::Timestamp>();
    instant.map(jiff::Timestamp::as_millisecond).map_err(|_| {
        ApiError::invalid(format!("`{shown}` is no instant")).with_hint("write it like 2026-11-01T00:00:00Z")
    })
}

/// The hash of a body, as the outside system has to show it.
pub fn sha256_of(body: &str) -> String {
    hex(&Sha256::digest(body.as_bytes()))
}

/// Tells the outside system until control stops.
pub async fn run_outside(context: Context) {
    let mut courier = Courier::new(context);
    loop {
        let moved = courier.round().await.unwrap_or_else(|error| {
            let cause = error.cause.as_deref().unwrap_or_default();
            tracing::warn!(%error, "records for the outside billing system could not be read or noted; trying again: {cause}");
            0
        });
        let pause = if moved > 0 { Duration::ZERO } else { PAUSE };
        tokio::select! {
            () = courier.context.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Carries records to the outside system.
#[derive(Debug)]
pub struct Courier {
    context: Context,
    trust: Trust,
    gather_ms: UnixMillis,
}

impl Courier {
    /// One that has nothing to do yet.
    pub fn new(context: Context) -> Self {
        Self {
            trust: Trust::load(context.config.ca_bundle.as_deref()),
            context,
            gather_ms: UnixMillis::MIN,
        }
    }

    /// Writes down what is new, and tries what is due. Returns how many records got on. Dropped in
    /// the middle, it loses nothing.
    pub async fn round(&mut self) -> Result<usize, ApiError> {
        let store = &self.context.store;
        let Some(outside) = outside(store).await? else {
            return Ok(0);
        };
        let now_ms = self.context.clock.now_ms();
        if now_ms >= self.gather_ms && !records::gather(&self.context, outside.since_ms, now_ms).await? {
            self.gather_ms = now_ms.saturating_add(GATHER_MS);
        }
        let secret = self.context.sealer.open_text(PLACE, &outside.secret)?;
        let due = store.billing_record_due(now_ms, ROUND).await?;
        let attempts: Vec<_> = due
            .iter()
            .map(|record| self.attempt(&outside, &secret, record))
            .collect();
        let attempts = stream::iter(attempts).buffer_unordered(AT_ONCE);
        // A stop does not wait for the outside; what was not noted is done again.
        let results = attempts.take_until(self.context.stop.cancelled()).collect::<Vec<_>>();
        let results: Result<Vec<bool>, ApiError> = results.await.into_iter().collect();
        Ok(results?.into_iter().filter(|moved| *moved).count())
    }

    async fn attempt(&self, outside: &Outside, secret: &Secret, record: &BillingRecord) -> Result<bool, ApiError> {
        let outcome = match record.state {
            RecordState::Unconfirmed => self.read_back(outside, secret, record).await,
            _ => self.hand_over(outside, secret, record).await,
        };
        let now_ms = self.context.clock.now_ms();
        let step = after(record, outcome, now_ms);
        if step.state == RecordState::Failed {
            let problem = step.problem.as_deref().unwrap_or_default();
            tracing::error!(
                record.id,
                "the outside billing system does not take a record: {problem}; `weir billing retry {}` tries it again",
                record.id
            );
            news::record_failed(&self.context, record, now_ms, problem).await?;
        }
        self.context.store.billing_record_advance(record, &step, now_ms).await?;
        Ok(step.attempts == record.attempts)
    }

    async fn hand_over(&self, outside: &Outside, secret: &Secret, record: &BillingRecord) -> Outcome {
        let call = self.call(outside, secret, record, Method::PUT);
        let answer = match self.ask(call).await {
            Ok(answer) => answer,
            Err(problem) => return Outcome::Unknown { answer: None, problem },
        };
        let words = Some(words_of(&answer));
        // A conflict may be of a record that is there already, which reading back will tell.
        if answer.status.is_success() || answer.status == StatusCode::CONFLICT {
            return Outcome::Taken { answer: words };
        }
        Outcome::Unknown {
            answer: words,
            problem: format!("it did not take the record: {}", answer.status),
        }
    }

    async fn read_back(&self, outside: &Outside, secret: &Secret, record: &BillingRecord) -> Outcome {
        let call = self.call(outside, secret, record, Method::GET);
        let answer = match self.ask(call).await {
            Ok(answer) => answer,
            Err(problem) => return Outcome::Unknown { answer: None, problem },
        };
        let words = Some(words_of(&answer));
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Outcome::Missing {
                answer: words,
                problem: "it said that it has the record, and does not show it".to_owned(),
            },
            StatusCode::OK => match difference(record, &answer.body) {
                None => Outcome::Shown { answer: words },
                Some(problem) => Outcome::Missing { answer: words, problem },
            },
            status => Outcome::Unknown {
                answer: words,
                problem: format!("the record cannot be read back: {status}"),
            },
        }
    }

    async fn ask(&self, call: Result<Call, String>) -> Result<Answer, String> {
        call::ask(call?, &self.trust).await
    }

    fn call(&self, outside: &Outside, secret: &Secret, record: &BillingRecord, method: Method) -> Result<Call, String> {
        let at_s = self.context.clock.now_ms().div_euclid(1_000);
        // A signature of nothing would fit every record.
        let (body, signed) = match method {
            Method::GET => (String::new(), &record.id),
            _ => (record.body.clone(), &record.body),
        };
        let signed = signature::sign(secret, at_s, signed.as_bytes());
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (signature::HEADER, signed),
            ("weir-kind", record.kind.to_string()),
            ("idempotency-key", record.id.clone()),
        ] {
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            headers.insert(name, value);
        }
        Ok(Call {
            method,
            url: place_of(&outside.url, outside.private, &record.id)?,
            private: outside.private,
            headers,
            body,
        })
    }
}

fn place_of(base: &str, private: bool, id: &str) -> Result<Url, String> {
    let mut url = address::check_url(base, private)?;
    url.path_segments_mut()
        .map_err(|()| "nothing can be below that URL".to_owned())?
        .pop_if_empty()
        .push(id);
    Ok(url)
}

/// The status and the beginning of what was said, to be shown to people.
fn words_of(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let words: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(WORDS)
        .collect();
    match words.trim() {
        "" => answer.status.to_string(),
        words => format!("{}: {words}", answer.status),
    }
}

/// What an outside system shows that it must not, in words; `None` if it shows the record as it
/// was sent.
fn difference(record: &BillingRecord, body: &[u8]) -> Option<String> {
    let Ok(shown) = serde_json::from_slice::<RecordShown>(body) else {
        return Some("what it shows is not JSON with the texts id, amount and sha256".to_owned());
    };
    let short = |text: &str| text.chars().take(80).collect::<String>();
    if shown.id != record.id {
        return Some(format!("it shows another record: {}", short(&shown.id)));
    }
    let same_amount = match (shown.amount.parse::<Nano>(), record.amount.parse::<Nano>()) {
        (Ok(shown), Ok(sent)) => shown == sent,
        _ => shown.amount == record.amount,
    };
    if !same_amount {
        let shown = short(&shown.amount);
        return Some(format!("it shows the amount {shown} instead of {}", record.amount));
    }
    let sent = sha256_of(&record.body);
    if !shown.sha256.eq_ignore_ascii_case(&sent) {
        let shown = short(&shown.sha256);
        return Some(format!("it shows another content: SHA-256 {shown} instead of {sent}"));
    }
    None
}

/// What came of an attempt.
#[derive(Debug, Clone)]
enum Outcome {
    /// It says that it has it.
    Taken { answer: Option<String> },
    /// It shows it as it was sent.
    Shown { answer: Option<String> },
    /// It has none, or another.
    Missing { answer: Option<String>, problem: String },
    /// Nothing is known.
    Unknown { answer: Option<String>, problem: String },
}

/// What becomes of a record after an attempt.
fn after(record: &BillingRecord, outcome: Outcome, now_ms: UnixMillis) -> RecordStep {
    let (state, answer, problem) = match outcome {
        Outcome::Shown { answer } => {
            return RecordStep {
                state: RecordState::Confirmed,
                attempts: record.attempts,
                next_ms: now_ms,
                answer,
                problem: None,
            };
        }
        Outcome::Taken { answer } => {
            return RecordStep {
                state: RecordState::Unconfirmed,
                attempts: record.attempts,
                next_ms: now_ms + READ_BACK_MS,
                answer,
                // It stays to be seen until it is proven to be over.
                problem: record.problem.clone(),
            };
        }
        Outcome::Missing { answer, problem } => (RecordState::Pending, answer, problem),
        Outcome::Unknown { answer, problem } => (record.state, answer, problem),
    };
    let attempt = usize::try_from(record.attempts).unwrap_or(usize::MAX);
    let pause_s = PAUSES_S[attempt.min(PAUSES_S.len() - 1)];
    let over = now_ms.saturating_sub(record.queued_ms) > PATIENCE_MS;
    RecordStep {
        state: if over { RecordState::Failed } else { state },
        attempts: record.attempts.saturating_add(1),
        next_ms: if over { now_ms } else { now_ms + pause_s * 1_000 },
        answer,
        problem: Some(problem),
    }
}

#[cfg(test)]
mod tests {
    use weir_model::AccountId;
    use weir_store::RecordKind;

    use super::*;

    fn record(state: RecordState) -> BillingRecord {
        BillingRecord {
            id: "inv_1".to_owned(),
            kind: RecordKind::Invoice,
            account: AccountId::from_parts(0, 0),
            seen: None,
            amount: "1.20".to_owned(),
            body: "{}".to_owned(),
            created_ms: 1_000,
            state,
            entered_ms: 1_000,
            queued_ms: 1_000,
            attempts: 0,
            next_ms: 1_000,
            answer: None,
            problem: None,
        }
    }

    fn unknown() -> Outcome {
        Outcome::Unknown {
            answer: None,
            problem: "no answer".to_owned(),
        }
    }

    #[test]
    fn an_ok_is_not_believed_and_its_absence_is_not_silent() {
        let pending = record(RecordState::Pending);
        let taken = after(&pending, Outcome::Taken { answer: None }, 5_000);
        assert_eq!((taken.state, taken.next_ms), (RecordState::Unconfirmed, 7_000));
        let missing = Outcome::Missing {
            answer: None,
            problem: "not there".to_owned(),
        };
        let step = after(&record(RecordState::Unconfirmed), missing, 9_000);
        assert_eq!((step.state, step.next_ms), (RecordState::Pending, 14_000));
        let again = BillingRecord {
            attempts: step.attempts,
            problem: step.problem,
            ..pending
        };
        let taken = after(&again, Outcome::Taken { answer: None }, 15_000);
        assert_eq!(taken.problem.as_deref(), Some("not there"), "until it is proven");
        let unread = after(&record(RecordState::Unconfirmed), unknown(), 9_000);
        assert_eq!(
            unread.state,
            RecordState::Unconfirmed,
            "who cannot be asked may have it"
        );
        let shown = after(&again, Outcome::Shown { answer: None }, 16_000);
        assert_eq!((shown.state, shown.problem), (RecordState::Confirmed, None));
    }

    #[test]
    fn a_record_is_tried_for_two_weeks_with_growing_pauses_and_then_has_failed() {
        let mut tried = record(RecordState::Pending);
        let (mut now_ms, mut pause_ms) = (1_000, 0);
        loop {
            let step = after(&tried, unknown(), now_ms);
            tried.attempts = step.attempts;
            if step.state == RecordState::Failed {
                break;
            }
            assert!(step.next_ms - now_ms >= pause_ms);
            pause_ms = step.next_ms - now_ms;
            now_ms = step.next_ms;
        }
        assert!((PATIENCE_MS..PATIENCE_MS + 21_700_000).contains(&now_ms), "{now_ms}");
        assert!((50..80).contains(&tried.attempts), "{}", tried.attempts);
    }

    #[test]
    fn only_the_same_record_is_no_difference() {
        let record = record(RecordState::Unconfirmed);
        let hash = sha256_of(&record.body);
        let told = |id: &str, amount: &str, sha256: &str| {
            let shown = serde_json::json!({"id": id, "amount": amount, "sha256": sha256, "more": 1});
            difference(&record, shown.to_string().as_bytes())
        };
        assert_eq!(told("inv_1", "1.20", &hash), None);
        assert_eq!(told("inv_1", "1.2", &hash.to_uppercase()), None);
        assert!(told("inv_2", "1.20", &hash).unwrap().contains("another record"));
        assert!(told("inv_1", "1.21", &hash).unwrap().contains("1.21 instead of 1.20"));
        assert!(told("inv_1", "1.20", "00").unwrap().contains("another content"));
        for body in [
            "",
            "OK",
            "{}",
            "null",
            "{\"id\":\"inv_1\",\"amount\":1.2,\"sha256\":\"\"}",
        ] {
            assert!(
                difference(&record, body.as_bytes()).unwrap().contains("not JSON with"),
                "{body}"
            );
        }
    }

    #[test]
    fn records_are_below_the_url() {
        for (base, place) in [
            ("https://example.org", "https://example.org/inv_1"),
            ("https://example.org/weir/", "https://example.org/weir/inv_1"),
            (
                "https://example.org/weir?team=7",
                "https://example.org/weir/inv_1?team=7",
            ),
        ] {
            assert_eq!(place_of(base, false, "inv_1").unwrap().as_str(), place);
        }
        assert!(place_of("http://example.org", false, "inv_1").is_err());
    }
}
