//! Each month's invoice, made by itself: for accounts with billing on, once the month is over in
//! the ledger's time zone and nobody can tell of any more use in it.
//!
//! What is owed to be invoiced is kept: the stretches in which an account was billed. Whatever
//! becomes an invoice is cut off from it, so that months that passed while control was down are
//! made afterwards, oldest first. An invoice has the identity of its account and stretch: made
//! again after a crash, it is the same one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use weir_ledger::Period;
use weir_model::{AccountId, InvoiceId, UnixMillis};
use weir_store::{Account, InvoiceState, StoreError};

use super::told::Told;
use super::{ALREADY_INVOICED, Head, finalize, lines, settings, write};
use crate::api::ApiError;
use crate::civil;
use crate::context::Context;

/// Where it is kept what is to be invoiced.
const OWED: &str = "invoices.owed";
/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(10);
/// So long after its end a stretch is invoiced at the earliest: hours of use are whole.
const SETTLING_MS: i64 = 3_600_000;
/// When an invoice waits so long for somebody who may still tell of use, a person is told.
const PATIENCE_MS: i64 = 86_400_000;

/// A stretch of time in which an account was billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Billed {
    from_ms: UnixMillis,
    /// `None` while billing is on.
    until_ms: Option<UnixMillis>,
}

/// A stretch that becomes one invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    until_ms: UnixMillis,
    from_ms: UnixMillis,
}

/// What of an account is not invoiced yet, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Owed(Vec<Billed>);

impl Owed {
    /// Takes in whether the account is billed now. Says whether that is news.
    fn note(&mut self, is_billed: bool, now_ms: UnixMillis, zone: &TimeZone) -> bool {
        let hour_ms = civil::hour_of(now_ms, zone);
        match (self.0.last_mut(), is_billed) {
            (Some(Billed { until_ms: None, .. }), true)
            | (None, false)
            | (Some(Billed { until_ms: Some(_), .. }), false) => return false,
            (Some(last @ Billed { until_ms: None, .. }), false) => {
                // The hour in which it was switched off is billed whole, as it is counted whole.
                last.until_ms = Some(civil::hour_of(now_ms + SETTLING_MS, zone));
            }
            (last, true) => {
                let after_ms = last.and_then(|last| last.until_ms).unwrap_or(hour_ms);
                self.0.push(Billed {
                    from_ms: after_ms.max(hour_ms),
                    until_ms: None,
                });
            }
        }
        true
    }

    /// The oldest stretch that is over and not on an invoice: to the end of the month, or to where
    /// billing ended or an invoice begins. `written` are the stretches of final invoices.
    fn next(&self, now_ms: UnixMillis, zone: &TimeZone, written: &[(UnixMillis, UnixMillis)]) -> Option<Due> {
        for billed in &self.0 {
            let mut from_ms = billed.from_ms;
            while let Some((_, until_ms)) = written.iter().find(|(from, until)| (*from..*until).contains(&from_ms)) {
                from_ms = *until_ms;
            }
            let (_, month_ms) = Period::Month.around(from_ms, zone);
            let begins = written.iter().map(|(from, _)| *from).filter(|begin| *begin > from_ms);
            let until_ms = begins.chain(month_ms).chain(billed.until_ms).min()?;
            if from_ms < until_ms {
                let due = Due { until_ms, from_ms };
                return (until_ms.saturating_add(SETTLING_MS) <= now_ms).then_some(due);
            }
        }
        None
    }

    /// Everything before an instant is invoiced, or nothing was used.
    fn settle(&mut self, before_ms: UnixMillis) {
        for billed in &mut self.0 {
            billed.from_ms = billed.from_ms.max(before_ms);
        }
        self.0
            .retain(|billed| billed.until_ms.is_none_or(|until| until > billed.from_ms));
    }
}

/// Makes invoices by itself.
#[derive(Debug)]
pub struct Automatic {
    context: Context,
    owed: BTreeMap<AccountId, Owed>,
    /// What does not go on was told of in the log, once for each stretch.
    complained: BTreeSet<(AccountId, Due)>,
    told: Told,
}

/// Makes each month's invoices, and has contacts told of everything final, until control stops.
pub async fn run(context: Context) {
    let mut automatic = None;
    loop {
        let round = async {
            let automatic = match &mut automatic {
                Some(automatic) => automatic,
                None => automatic.insert(Automatic::open(context.clone()).await?),
            };
            automatic.round().await
        };
        if let Err(error) = round.await {
            tracing::warn!(
                cause = error.cause.as_deref(),
                "invoices could not be made: {error}; trying again"
            );
            // What was changed in memory may not be what is kept.
            automatic = None;
        }
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

impl Automatic {
    /// Goes on with what is kept.
    pub async fn open(context: Context) -> Result<Self, ApiError> {
        let owed = match context.store.setting_get(OWED).await? {
            Some(text) => serde_json::from_str(&text).map_err(ApiError::internal)?,
            None => BTreeMap::new(),
        };
        Ok(Self {
            context,
            owed,
            complained: BTreeSet::new(),
            told: Told::default(),
        })
    }

    /// Makes what is due, and has contacts told of it.
    pub async fn round(&mut self) -> Result<(), ApiError> {
        self.make_all().await?;
        self.told.round(&self.context).await
    }

    /// Of all accounts the oldest month first.
    async fn make_all(&mut self) -> Result<(), ApiError> {
        let zone = self.context.money.time_zone();
        let accounts = self.context.store.account_list().await?;
        self.note(&accounts, &zone).await?;
        let settings = settings(&self.context.store).await?;
        // A paper without a seller is no invoice, and a final one cannot be mended.
        if !settings.automatic || settings.seller.is_empty() {
            return Ok(());
        }
        let mut due = BTreeMap::new();
        for account in &accounts {
            if let Some(next) = self.next(account, &zone).await? {
                due.insert((next, account.name.as_str()), account);
            }
        }
        while let Some(((stretch, _), account)) = due.pop_first() {
            if !self.is_settled(account, stretch) {
                continue;
            }
            // Others do not wait for an account whose invoice cannot be made.
            if let Err(error) = make(&self.context, account, stretch).await {
                if self.complained.insert((account.id, stretch)) {
                    tracing::warn!(cause = error.cause.as_deref(), account.name = %account.name, "the invoice of `{}` could not be made: {error}; trying again", account.name);
                }
                continue;
            }
            self.owed.entry(account.id).or_default().settle(stretch.until_ms);
            self.keep().await?;
            if let Some(next) = self.next(account, &zone).await? {
                due.insert((next, account.name.as_str()), account);
            }
        }
        Ok(())
    }

    async fn note(&mut self, accounts: &[Account], zone: &TimeZone) -> Result<(), StoreError> {
        let now_ms = self.context.clock.now_ms();
        let mut is_news = false;
        for account in accounts {
            let standing = self.context.money.account(account.id);
            let is_billed = standing.is_some_and(|standing| standing.billing);
            if is_billed || self.owed.contains_key(&account.id) {
                is_news |= self.owed.entry(account.id).or_default().note(is_billed, now_ms, zone);
            }
        }
        if is_news { self.keep().await } else { Ok(()) }
    }

    async fn keep(&mut self) -> Result<(), StoreError> {
        self.owed.retain(|_, owed| !owed.0.is_empty());
        let text = serde_json::to_string(&self.owed).map_err(|error| StoreError::Internal(error.to_string()))?;
        self.context.store.setting_set(OWED, &text).await
    }

    async fn next(&self, account: &Account, zone: &TimeZone) -> Result<Option<Due>, StoreError> {
        let Some(owed) = self.owed.get(&account.id) else {
            return Ok(None);
        };
        let now_ms = self.context.clock.now_ms();
        // Most rounds end here, without a look at the account's invoices.
        if owed.next(now_ms, zone, &[]).is_none() {
            return Ok(None);
        }
        let invoices = self.context.store.invoice_list(account.id).await?;
        let written: Vec<_> = invoices
            .iter()
            .filter(|invoice| invoice.credits.is_none() && invoice.state != InvoiceState::Draft)
            .map(|invoice| (invoice.from_ms, invoice.until_ms))
            .collect();
        Ok(owed.next(now_ms, zone, &written))
    }

    /// Whether nobody can tell of more use in a stretch.
    fn is_settled(&mut self, account: &Account, stretch: Due) -> bool {
        let Some(late) = self.context.money.unsettled(account.id, stretch.until_ms) else {
            return false;
        };
        let overdue = self.context.clock.now_ms() - stretch.until_ms > PATIENCE_MS;
        if overdue && !late.is_empty() && self.complained.insert((account.id, stretch)) {
            let names: Vec<&str> = late.iter().map(String::as_str).collect();
            tracing::warn!(
                account.name = %account.name,
                "the invoice of `{}` until {} waits for {}, which may still tell of use in that time; start it again",
                account.name,
                civil::shown(stretch.until_ms, &self.context.money.time_zone()),
                names.join(", ")
            );
        }
        late.is_empty()
    }
}

/// Makes the invoice of a stretch, if anything was used in it, or what is left to do of it after
/// a crash.
async fn make(context: &Context, account: &Account, stretch: Due) -> Result<(), ApiError> {
    let id = id_of(account.id, stretch);
    let there = context.store.invoice_by_id(id).await?;
    if there
        .as_ref()
        .is_some_and(|invoice| invoice.state != InvoiceState::Draft)
    {
        return Ok(());
    }
    if there.is_none() {
        let lines = lines(context, account, stretch.from_ms, stretch.until_ms).await?;
        if lines.is_empty() {
            return Ok(());
        }
        let head = Head {
            id,
            account,
            from_ms: stretch.from_ms,
            until_ms: stretch.until_ms,
            credits: None,
            reason: None,
        };
        write(context, head, lines).await?;
    }
    let invoice = match finalize(context, id).await {
        Err(error) if error.kind == ALREADY_INVOICED => {
            // Somebody was quicker by hand; what is left is another stretch.
            context.store.invoice_discard(id).await?;
            return Err(error);
        }
        invoice => invoice?,
    };
    let number = invoice.number.unwrap_or_default();
    tracing::info!(invoice.id = %id, account.name = %account.name, "the invoice {number} was made");
    Ok(())
}

/// The same for the same stretch of the same account.
fn id_of(account: AccountId, stretch: Due) -> InvoiceId {
    let hash = Sha256::digest(format!("{account} {} {}", stretch.from_ms, stretch.until_ms));
    let bytes: [u8; 16] = std::array::from_fn(|place| hash[place]);
    InvoiceId::from_parts(stretch.until_ms, u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn ms(text: &str) -> UnixMillis {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    /// All that is due, as one invoice after the other is made.
    fn all(owed: &mut Owed, now: &str, zone: &TimeZone, written: &[(&str, &str)]) -> Vec<(String, String)> {
        let written: Vec<_> = written.iter().map(|(from, until)| (ms(from), ms(until))).collect();
        let text = |at| Timestamp::from_millisecond(at).unwrap().to_string();
        let mut all = Vec::new();
        while let Some(due) = owed.next(ms(now), zone, &written) {
            owed.settle(due.until_ms);
            all.push((text(due.from_ms), text(due.until_ms)));
        }
        all
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(from, until)| ((*from).to_owned(), (*until).to_owned()))
            .collect()
    }

    fn since(from: &str) -> Owed {
        let from_ms = ms(from);
        Owed(vec![Billed {
            from_ms,
            until_ms: None,
        }])
    }

    #[test]
    fn a_month_is_due_an_hour_after_its_end_and_missed_ones_in_order() {
        let mut owed = since("2026-09-17T10:00:00Z");
        assert_eq!(all(&mut owed, "2026-10-01T00:59:59Z", &TimeZone::UTC, &[]), []);
        let october = [("2026-09-17T10:00:00Z", "2026-10-01T00:00:00Z")];
        assert_eq!(
            all(&mut owed.clone(), "2026-10-01T01:00:00Z", &TimeZone::UTC, &[]),
            pairs(&october)
        );
        let later = [
            ("2026-09-17T10:00:00Z", "2026-10-01T00:00:00Z"),
            ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"),
            ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ];
        assert_eq!(
            all(&mut owed, "2026-12-24T12:00:00Z", &TimeZone::UTC, &[]),
            pairs(&later)
        );
        assert_eq!(all(&mut owed, "2026-12-24T12:00:00Z", &TimeZone::UTC, &[]), [], "once");
    }

    #[test]
    fn months_are_those_of_the_time_zone() {
        let mut owed = since("2026-09-30T22:00:00Z");
        let october = [("2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z")];
        let berlin = zone("Europe/Berlin");
        assert_eq!(all(&mut owed, "2026-11-01T00:00:00Z", &berlin, &[]), pairs(&october));
        let mut owed = since("2026-10-01T00:00:00Z");
        assert_eq!(all(&mut owed, "2026-11-01T00:30:00Z", &TimeZone::UTC, &[]), []);
        // The zone is changed within a stretch: no hour is left out or twice.
        let then = [
            ("2026-10-01T00:00:00Z", "2026-10-31T23:00:00Z"),
            ("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"),
        ];
        assert_eq!(all(&mut owed, "2026-12-02T00:00:00Z", &berlin, &[]), pairs(&then));
    }

    #[test]
    fn what_was_invoiced_by_hand_is_left_out() {
        let mut owed = since("2026-10-01T00:00:00Z");
        let by_hand = [
            ("2026-10-10T00:00:00Z", "2026-10-20T00:00:00Z"),
            ("2026-10-20T00:00:00Z", "2026-11-05T00:00:00Z"),
        ];
        let rest = [
            ("2026-10-01T00:00:00Z", "2026-10-10T00:00:00Z"),
            ("2026-11-05T00:00:00Z", "2026-12-01T00:00:00Z"),
        ];
        assert_eq!(
            all(&mut owed, "2026-12-02T00:00:00Z", &TimeZone::UTC, &by_hand),
            pairs(&rest)
        );
    }

    #[test]
    fn only_the_time_with_billing_on_is_owed() {
        let mut owed = Owed::default();
        let utc = TimeZone::UTC;
        assert!(!owed.note(false, ms("2026-10-01T12:00:00Z"), &utc));
        assert!(owed.note(true, ms("2026-10-05T12:34:56Z"), &utc));
        assert!(!owed.note(true, ms("2026-10-05T13:00:00Z"), &utc));
        assert!(owed.note(false, ms("2026-10-07T08:20:00Z"), &utc));
        assert!(!owed.note(false, ms("2026-10-07T08:21:00Z"), &utc));
        assert!(owed.note(true, ms("2026-10-20T00:00:00Z"), &utc));
        // Switched to and fro within one hour: the hour is in one stretch.
        assert!(owed.note(false, ms("2026-10-25T05:10:00Z"), &utc));
        assert!(owed.note(true, ms("2026-10-25T05:20:00Z"), &utc));
        let stretches = [
            ("2026-10-05T12:00:00Z", "2026-10-07T09:00:00Z"),
            ("2026-10-20T00:00:00Z", "2026-10-25T06:00:00Z"),
            ("2026-10-25T06:00:00Z", "2026-11-01T00:00:00Z"),
        ];
        assert_eq!(all(&mut owed, "2026-11-01T01:00:00Z", &utc, &[]), pairs(&stretches));
        let text = serde_json::to_string(&owed).unwrap();
        assert_eq!(serde_json::from_str::<Owed>(&text).unwrap(), owed);
        assert_eq!(owed.0.len(), 1);
    }

    #[test]
    fn no_hour_is_owed_twice_or_left_out_whatever_happens_in_which_order() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let zone = zone(random.choice(["UTC", "Asia/Kolkata", "America/New_York"]).unwrap());
            let (mut owed, mut now_ms) = (Owed::default(), ms("2026-01-01T00:00:00Z"));
            let (mut billed_hours, mut due) = (Vec::new(), Vec::<Due>::new());
            let mut is_billed = false;
            for _ in 0..200 {
                if random.u8(..4) == 0 {
                    is_billed = !is_billed;
                }
                owed.note(is_billed, now_ms, &zone);
                while let Some(next) = owed.next(now_ms, &zone, &[]) {
                    owed.settle(next.until_ms);
                    due.push(next);
                }
                // Weeks of downtime are among the steps; what runs meanwhile is as it was.
                let hours = if random.u8(..20) == 0 { 1_000 } else { random.i64(1..60) };
                if is_billed {
                    billed_hours.extend((0..hours).map(|hour| now_ms + hour * SETTLING_MS));
                }
                now_ms += hours * SETTLING_MS;
            }
            owed.note(false, now_ms, &zone);
            while let Some(next) = owed.next(now_ms + 1_000 * SETTLING_MS, &zone, &[]) {
                owed.settle(next.until_ms);
                due.push(next);
            }
            assert!(due.is_sorted_by(|a, b| a.until_ms <= b.from_ms), "{seed}: {due:?}");
            for hour in billed_hours {
                let count = due
                    .iter()
                    .filter(|due| (due.from_ms..due.until_ms).contains(&hour))
                    .count();
                assert_eq!(count, 1, "{seed}: {}", Timestamp::from_millisecond(hour).unwrap());
            }
        }
    }
}
