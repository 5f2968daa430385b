//! Sends what is handed in.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method};
use weir_store::{Channel, Contact, Notice, NoticeState, StoreError};

use super::call::{self, Call, Trust};
use super::mail::{Mail, Mailer, Pdf};
use super::{address, news, signature};
use crate::context::Context;
use crate::invoices;

/// How often it is looked for something to send.
const PAUSE: Duration = Duration::from_secs(1);
/// Pauses after the first failed attempts, in seconds; the last one goes on.
const PAUSES_S: [i64; 8] = [5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600];
/// A notice older than this is given up when an attempt fails.
const PATIENCE_MS: i64 = 3 * 86_400_000;
/// Contacts that are served in one round, and at the same time.
const ROUND: i64 = 64;
const AT_ONCE: usize = 8;

/// Sends until control stops.
pub async fn run(context: Context) {
    let bundle = context.config.ca_bundle.as_deref();
    let mailer = context.config.smtp.as_ref().and_then(|url| {
        Mailer::open(url, bundle)
            .inspect_err(|error| tracing::error!("no mail can be sent: {error:#}"))
            .ok()
    });
    let trust = Trust::load(bundle);
    let sender = Sender { context, mailer, trust };
    loop {
        let sent = sender.round().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "notices could not be read or noted; trying again");
            0
        });
        let pause = if sent > 0 { Duration::ZERO } else { PAUSE };
        tokio::select! {
            () = sender.context.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

struct Sender {
    context: Context,
    mailer: Option<Mailer>,
    trust: Trust,
}

impl Sender {
    /// Tries what is due. Returns how much of it has arrived.
    async fn round(&self) -> Result<usize, StoreError> {
        let due = self
            .context
            .store
            .notice_due(self.context.clock.now_ms(), ROUND)
            .await?;
        let attempts: Vec<_> = due.iter().map(|notice| self.attempt(notice)).collect();
        let attempts = stream::iter(attempts).buffer_unordered(AT_ONCE);
        // A stop does not wait for receivers; what was not noted as sent is sent again.
        let results = attempts.take_until(self.context.stop.cancelled()).collect::<Vec<_>>();
        let results: Result<Vec<bool>, StoreError> = results.await.into_iter().collect();
        Ok(results?.into_iter().filter(|sent| *sent).count())
    }

    async fn attempt(&self, notice: &Notice) -> Result<bool, StoreError> {
        let store = &self.context.store;
        let Some(contact) = store.contact_by_id(notice.contact).await? else {
            return Ok(false);
        };
        let result = self.send(&contact, notice).await;
        let now_ms = self.context.clock.now_ms();
        match result {
            Ok(()) => store.notice_advance(notice, NoticeState::Sent, now_ms, None).await?,
            Err(problem) => {
                let (state, next_ms) = after_failure(notice, now_ms);
                if state == NoticeState::GivenUp {
                    tracing::warn!(notice.id = %notice.id, contact.id = %contact.id, "a notice to {} is given up: {problem}", contact.address);
                }
                store.notice_advance(notice, state, next_ms, Some(&problem)).await?;
                return Ok(false);
            }
        };
        Ok(true)
    }

    async fn send(&self, contact: &Contact, notice: &Notice) -> Result<(), String> {
        match contact.channel {
            Channel::Email => {
                let Some(mailer) = &self.mailer else {
                    return Err("this Weir has no mail server; start it with WEIR_SMTP".to_owned());
                };
                let mail = Mail {
                    to: &contact.address,
                    subject: &notice.subject,
                    text: &notice.body,
                    id: notice.id.to_string(),
                    pdf: self.paper(notice).await?,
                };
                mailer.send(mail).await
            }
            Channel::Webhook => self.post(contact, notice).await,
        }
    }

    /// The document that a notice is about.
    async fn paper(&self, notice: &Notice) -> Result<Option<Pdf>, String> {
        let Some(id) = news::invoice_of(notice) else {
            return Ok(None);
        };
        let unreadable = |error: &dyn std::fmt::Display| format!("the invoice {id} cannot be attached: {error}");
        let invoice = self.context.store.invoice_by_id(id).await;
        let Some(invoice) = invoice.map_err(|error| unreadable(&error))? else {
            return Err(unreadable(&"it is not there"));
        };
        let shown = invoices::shown(&invoice).map_err(|error| unreadable(&error))?;
        let number = shown.number.as_deref().unwrap_or(&shown.id);
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
        Ok(Some(Pdf {
            name: format!("{}-{}.pdf", shown.kind, number.chars().map(plain).collect::<String>()),
            bytes: invoices::pdf(&shown).map_err(|error| unreadable(&error))?,
        }))
    }

    async fn post(&self, contact: &Contact, notice: &Notice) -> Result<(), String> {
        let secret = news::open_secret(&self.context.sealer, contact).map_err(|error| error.to_string())?;
        let at_s = self.context.clock.now_ms().div_euclid(1_000);
        let signed = signature::sign(&secret, at_s, notice.body.as_bytes());
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (signature::HEADER, signed),
            ("weir-kind", notice.kind.clone()),
            ("idempotency-key", notice.id.to_string()),
        ] {
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            headers.insert(name, value);
        }
        let call = Call {
            method: Method::POST,
            url: address::check_url(&contact.address, contact.private)?,
            private: contact.private,
            headers,
            body: notice.body.clone(),
        };
        let status = call::ask(call, &self.trust).await?.status;
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("the receiver answered {status}"))
        }
    }
}

/// What becomes of a notice that was not taken.
fn after_failure(notice: &Notice, now_ms: i64) -> (NoticeState, i64) {
    if now_ms.saturating_sub(notice.created_ms) > PATIENCE_MS {
        return (NoticeState::GivenUp, now_ms);
    }
    let attempt = usize::try_from(notice.attempts).unwrap_or(usize::MAX);
    let pause_s = PAUSES_S[attempt.min(PAUSES_S.len() - 1)];
    (NoticeState::Waiting, now_ms + pause_s * 1_000)
}

#[cfg(test)]
mod tests {
    use weir_model::{ContactId, NoticeId};

    use super::*;

    #[test]
    fn a_notice_is_tried_for_three_days_and_not_longer() {
        let mut notice = Notice {
            sequence: 1,
            id: NoticeId::from_parts(1, 1),
            contact: ContactId::from_parts(1, 1),
            key: String::new(),
            kind: "test".to_owned(),
            subject: String::new(),
            body: String::new(),
            created_ms: 1_000,
            state: NoticeState::Waiting,
            attempts: 0,
            next_ms: 1_000,
            problem: None,
        };
        let mut now_ms = 1_000;
        loop {
            let (state, next_ms) = after_failure(&notice, now_ms);
            notice.attempts += 1;
            if state == NoticeState::GivenUp {
                break;
            }
            assert!(next_ms > now_ms);
            now_ms = next_ms;
        }
        assert!((PATIENCE_MS..PATIENCE_MS + 21_700_000).contains(&now_ms), "{now_ms}");
        assert!((15..30).contains(&notice.attempts), "{}", notice.attempts);
    }
}
