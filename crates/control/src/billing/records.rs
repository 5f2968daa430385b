//! What an outside billing system is to be told, derived from what is stored: the same record is
//! written once, whenever it is looked, and what was not written yet is found the next time.

use std::collections::BTreeMap;

use weir_api::{DocumentRecord, UsageLine, UsageRecord};
use weir_ledger::book::Scope;
use weir_ledger::{Nano, Sku};
use weir_model::{AccountId, UnixMillis};
use weir_store::{BillingRecord, Invoice, RecordKind, RecordState, UsageHour, UsageSeen};

use crate::api::ApiError;
use crate::api::present::instant;
use crate::context::Context;
use crate::invoices;
use crate::money::kept_from;

const HOUR_MS: i64 = 3_600_000;
/// So long after its end an hour is told. What becomes known of it later is told then.
const GRACE_MS: i64 = 300_000;
/// Records of a kind that are written at once.
const BATCH: i64 = 256;

/// Writes down what is new of what was used, or became final, since an instant. Says whether there
/// is more.
pub(super) async fn gather(context: &Context, since_ms: UnixMillis, now_ms: UnixMillis) -> Result<bool, ApiError> {
    let store = &context.store;
    let invoices = store.billing_invoice_untold(since_ms, BATCH).await?;
    let from_ms = (since_ms - since_ms.rem_euclid(HOUR_MS)).max(kept_from(now_ms));
    let until_ms = now_ms - HOUR_MS - GRACE_MS;
    let hours = store.billing_usage_untold(from_ms, until_ms, BATCH).await?;
    let full = |count: usize| i64::try_from(count).is_ok_and(|count| count >= BATCH);
    let more = full(invoices.len()) || full(hours.len());
    if invoices.is_empty() && hours.is_empty() {
        return Ok(more);
    }
    let accounts = store.account_list().await?;
    let accounts: BTreeMap<AccountId, String> =
        accounts.into_iter().map(|account| (account.id, account.name)).collect();
    let names = Names {
        accounts,
        others: invoices::names(context).await?,
    };
    for invoice in &invoices {
        match of_document(invoice, &names, now_ms) {
            Ok(record) => drop(store.billing_record_insert(&record).await?),
            Err(error) => untellable(&invoice.id.to_string(), &error),
        }
    }
    for (account, hour_ms) in hours {
        match of_hour(context, account, hour_ms, &names).await {
            Ok(Some(record)) => drop(store.billing_record_insert(&record).await?),
            Ok(None) => {}
            Err(error) => untellable(&format!("the usage of {account} at {}", instant(hour_ms)), &error),
        }
    }
    Ok(more)
}

/// What is next to it is told nevertheless.
fn untellable(what: &str, error: &ApiError) {
    let cause = error.cause.as_deref().unwrap_or_default();
    tracing::error!(%error, "the outside billing system cannot be told of {what}: {cause}");
}

/// Names by identity; what is gone is told by its identity.
struct Names {
    accounts: BTreeMap<AccountId, String>,
    others: BTreeMap<String, String>,
}

impl Names {
    fn account(&self, id: AccountId) -> String {
        self.accounts.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    fn other(&self, id: &str) -> String {
        self.others.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }
}

fn record(
    kind: RecordKind,
    account: AccountId,
    id: String,
    amount: String,
    body: String,
    now_ms: i64,
) -> BillingRecord {
    BillingRecord {
        id,
        kind,
        account,
        seen: None,
        amount,
        body,
        created_ms: now_ms,
        state: RecordState::Pending,
        entered_ms: now_ms,
        queued_ms: now_ms,
        attempts: 0,
        next_ms: now_ms,
        answer: None,
        problem: None,
    }
}

fn of_document(invoice: &Invoice, names: &Names, now_ms: UnixMillis) -> Result<BillingRecord, ApiError> {
    let kind = match invoice.credits {
        Some(_) => RecordKind::CreditNote,
        None => RecordKind::Invoice,
    };
    let document = invoices::document(invoice)?;
    let told = DocumentRecord {
        id: invoice.id.to_string(),
        kind: kind.to_string(),
        account: names.account(invoice.account),
        account_id: invoice.account.to_string(),
        amount: document.total.clone(),
        currency: document.currency.clone(),
        number: invoice.number.clone().unwrap_or_default(),
        finalized: instant(invoice.final_ms.unwrap_or_default()),
        document,
    };
    let body = serde_json::to_string(&told).map_err(ApiError::internal)?;
    Ok(record(kind, invoice.account, told.id, told.amount, body, now_ms))
}

/// What was used in an hour and was not told yet; `None` if that is nothing.
async fn of_hour(
    context: &Context,
    account: AccountId,
    hour_ms: UnixMillis,
    names: &Names,
) -> Result<Option<BillingRecord>, ApiError> {
    let store = &context.store;
    let mut rows = Vec::new();
    let scope = Some(Scope::Account(account));
    store
        .usage_hours_each(scope, hour_ms, hour_ms + 1, |row| {
            if row.line.sku != Sku::LOST {
                rows.push(row);
            }
        })
        .await?;
    let seen = UsageSeen::of(hour_ms, &rows)?;
    let before = store.billing_record_of_hour(account, hour_ms).await?;
    let mut told = Vec::new();
    for record in &before {
        let record: UsageRecord = serde_json::from_str(&record.body).map_err(ApiError::internal)?;
        told.extend(record.lines);
    }
    let (lines, amount) = untold(&rows, &told, names)?;
    if lines.is_empty() {
        return Ok(None);
    }
    let part = u32::try_from(before.len()).unwrap_or(u32::MAX).saturating_add(1);
    let books = context.money.books();
    let priced = |version| books.iter().find(|book| book.version == version);
    let currency = lines.iter().find_map(|line| priced(line.price_version));
    let usage = UsageRecord {
        id: format!("use-{account}-{hour_ms}-{part}"),
        kind: RecordKind::Usage.to_string(),
        account: names.account(account),
        account_id: account.to_string(),
        amount: amount.to_string(),
        currency: currency.map(|book| book.currency.clone()).unwrap_or_default(),
        hour: instant(hour_ms),
        part,
        lines,
    };
    let body = serde_json::to_string(&usage).map_err(ApiError::internal)?;
    let now_ms = context.clock.now_ms();
    let written = record(RecordKind::Usage, account, usage.id, usage.amount, body, now_ms);
    Ok(Some(BillingRecord {
        seen: Some(seen),
        ..written
    }))
}

/// What tells lines apart.
type Key = (String, String, Option<String>, Option<String>, String, u32);

/// What the rows say beyond the lines that were told, and what that costs.
fn untold(rows: &[UsageHour], told: &[UsageLine], names: &Names) -> Result<(Vec<UsageLine>, Nano), ApiError> {
    let mut known: BTreeMap<Key, (u128, Nano)> = BTreeMap::new();
    for line in told {
        let key = (
            line.project_id.clone(),
            line.environment_id.clone(),
            line.app.clone(),
            line.process.clone(),
            line.sku.clone(),
            line.price_version,
        );
        let (units, amount) = known.entry(key).or_default();
        *units += line.units.parse::<u128>().map_err(ApiError::internal)?;
        *amount += line.amount.parse::<Nano>().map_err(ApiError::internal)?;
    }
    let mut sums: BTreeMap<Key, (u128, Nano)> = BTreeMap::new();
    for row in rows {
        let key = (
            row.project.to_string(),
            row.environment.to_string(),
            row.line.app.as_ref().map(ToString::to_string),
            row.line.process.as_ref().map(ToString::to_string),
            row.line.sku.to_string(),
            row.price_version,
        );
        let (units, amount) = sums.entry(key).or_default();
        *units = units.saturating_add(row.units);
        *amount += row.amount;
    }
    let (mut lines, mut sum) = (Vec::new(), Nano::ZERO);
    for (key, (units, amount)) in sums {
        let (known_units, known_amount) = known.get(&key).copied().unwrap_or_default();
        let units = units.checked_sub(known_units);
        let more = amount.checked_sub(known_amount).filter(|more| *more >= Nano::ZERO);
        let (Some(units), Some(more)) = (units, more) else {
            return Err(ApiError::internal("less was used in an hour than was told before"));
        };
        if units == 0 && more == Nano::ZERO {
            continue;
        }
        sum += more;
        let (project_id, environment_id, app, process, sku, price_version) = key;
        lines.push(UsageLine {
            project: names.other(&project_id),
            project_id,
            environment: names.other(&environment_id),
            environment_id,
            app,
            process,
            sku,
            price_version,
            units: units.to_string(),
            amount: more.to_string(),
        });
    }
    Ok((lines, sum))
}
