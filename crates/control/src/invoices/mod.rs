//! Invoices: what the ledger has of a stretch of time, on paper. A draft may be discarded; a
//! final one has a number and never changes, and only a credit note takes it back.
//!
//! The ledger comes first: it moves the same amounts under the document's identity, once,
//! however often that is asked for. After a crash in between, finalizing the same draft again
//! goes on where it ended.
//!
//! [`automatic`] makes the invoice of each month by itself, and `told` has contacts told of what has
//! become final.

mod amounts;
pub mod automatic;
mod html;
mod pdf;
mod told;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use tokio::sync::Mutex;
use weir_api::{CreateInvoice, CreditInvoice, InvoiceDocument, InvoiceLine, InvoiceSettings};
use weir_ledger::book::{Command, Reply, Scope};
use weir_ledger::price::file::price_text;
use weir_ledger::{Nano, Sku};
use weir_model::{InvoiceId, UnixMillis};
use weir_store::{Account, Finalize, Invoice, InvoiceState, Store};

use self::amounts::{Cents, Rounding, quantity, tax_of};
use crate::api::ApiError;
use crate::api::present::instant;
use crate::civil;
use crate::context::Context;
use crate::money::{Bucket, CostColumn, CostQuery};

pub use html::{html, stretch};
pub use pdf::pdf;

const SETTINGS: &str = "invoices.settings";
const TEXT_BYTES: usize = 2_000;
const ALREADY_INVOICED: &str = "already-invoiced";

/// One document becomes final at a time, so that no use is on two of them. Control is one process.
static FINALIZING: Mutex<()> = Mutex::const_new(());

/// What is the same on all invoices.
pub async fn settings(store: &Store) -> Result<InvoiceSettings, ApiError> {
    match store.setting_get(SETTINGS).await? {
        Some(text) => serde_json::from_str(&text).map_err(ApiError::internal),
        None => Ok(InvoiceSettings {
            seller: String::new(),
            tax_percent: "0".to_owned(),
            series: "{year}-{number:05}".to_owned(),
            automatic: true,
        }),
    }
}

/// Changes it for documents that are made from now on.
pub async fn set_settings(store: &Store, settings: &InvoiceSettings) -> Result<(), ApiError> {
    check_text(&settings.seller)?;
    amounts::percent(&settings.tax_percent)
        .ok_or_else(|| ApiError::invalid("the tax is a percentage from 0 to 100, for example 19 or 7.5"))?;
    let series = &settings.series;
    if series.len() > 60 || amounts::number_of(series, 2000, 1) == amounts::number_of(series, 2000, 2) {
        return Err(ApiError::invalid("the series has no number in it").with_hint("for example {year}-{number:05}"));
    }
    let text = serde_json::to_string(settings).map_err(ApiError::internal)?;
    Ok(store.setting_set(SETTINGS, &text).await?)
}

/// Sets whom invoices of an account are for.
pub async fn set_customer(store: &Store, account: &Account, address: &str) -> Result<(), ApiError> {
    check_text(address)?;
    Ok(store.setting_set(&customer_setting(account), address).await?)
}

fn customer_setting(account: &Account) -> String {
    format!("invoices.customer.{}", account.id)
}

fn check_text(text: &str) -> Result<(), ApiError> {
    let plain = text.chars().all(|letter| letter == '\n' || !letter.is_control());
    if plain && text.len() <= TEXT_BYTES {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "an address is plain text of {TEXT_BYTES} bytes at most"
    )))
}

/// What is on a document.
pub fn document(invoice: &Invoice) -> Result<InvoiceDocument, ApiError> {
    serde_json::from_str(&invoice.document).map_err(ApiError::internal)
}

/// A document in the shape of the public API.
pub fn shown(invoice: &Invoice) -> Result<weir_api::Invoice, ApiError> {
    let kind = if invoice.credits.is_some() {
        "credit-note"
    } else {
        "invoice"
    };
    Ok(weir_api::Invoice {
        id: invoice.id.to_string(),
        kind: kind.to_owned(),
        state: invoice.state.to_string(),
        number: invoice.number.clone(),
        created: instant(invoice.created_ms),
        finalized: invoice.final_ms.map(instant),
        document: document(invoice)?,
    })
}

/// Makes a draft of what was used in a stretch that is over.
pub async fn create(context: &Context, account: &Account, request: &CreateInvoice) -> Result<Invoice, ApiError> {
    let zone = context.money.time_zone();
    let (from_ms, until_ms) = (parse_hour(&request.from, &zone)?, parse_hour(&request.until, &zone)?);
    let now_ms = context.clock.now_ms();
    if from_ms >= until_ms || until_ms > now_ms {
        return Err(ApiError::invalid(
            "the stretch has to be over, and to end after it begins",
        ));
    }
    let lines = lines(context, account, from_ms, until_ms).await?;
    if lines.is_empty() {
        return Err(ApiError::conflict("nothing-used", "nothing was used in that time"));
    }
    let head = Head {
        id: InvoiceId::from_parts(now_ms, context.clock.random()),
        account,
        from_ms,
        until_ms,
        credits: None,
        reason: None,
    };
    write(context, head, lines).await
}

/// What the paper says beside its lines.
struct Head<'a> {
    id: InvoiceId,
    account: &'a Account,
    from_ms: UnixMillis,
    until_ms: UnixMillis,
    credits: Option<&'a Invoice>,
    reason: Option<&'a str>,
}

/// A line with its amounts as numbers.
struct Line {
    line: InvoiceLine,
    exact: Nano,
    cents: Cents,
}

async fn lines(context: &Context, account: &Account, from_ms: i64, until_ms: i64) -> Result<Vec<Line>, ApiError> {
    use CostColumn as Column;
    let query = CostQuery {
        scope: Scope::Account(account.id),
        from_ms,
        until_ms,
        bucket: Bucket::Total,
        by: vec![Column::Project, Column::Environment, Column::Sku, Column::PriceVersion],
    };
    let rows = context.money.costs(query).await?;
    let books = context.money.books();
    let names = names(context).await?;
    let currency = context.money.book().currency;
    let mut rounding = Rounding::new(&currency);
    let mut lines = Vec::new();
    for row in rows {
        let (Some(sku), Some(version)) = (row.sku, row.price_version) else {
            continue;
        };
        if sku == Sku::LOST || row.amount == Nano::ZERO {
            continue;
        }
        let book = books.iter().find(|book| book.version == version);
        let book = book.ok_or_else(|| ApiError::internal(format!("there are no prices {version}")))?;
        let price = price_text(&sku, book.price(&sku));
        let name = |id: Option<String>| id.map(|id| names.get(&id).cloned().unwrap_or(id)).unwrap_or_default();
        let cents = rounding.next(row.amount);
        lines.push(Line {
            exact: row.amount,
            cents,
            line: InvoiceLine {
                number: u32::try_from(lines.len() + 1).unwrap_or(u32::MAX),
                project: name(row.project.map(|id| id.to_string())),
                environment: name(row.environment.map(|id| id.to_string())),
                quantity: quantity(row.units.unwrap_or(0), &price),
                price,
                price_version: version,
                sku: sku.to_string(),
                exact: row.amount.to_string(),
                amount: cents.to_string(),
            },
        });
    }
    Ok(lines)
}

/// Names of projects and environments, by identity.
pub(crate) async fn names(context: &Context) -> Result<BTreeMap<String, String>, ApiError> {
    let mut names = BTreeMap::new();
    for project in context.store.project_list().await? {
        for environment in context.store.environment_list(project.id).await? {
            names.insert(environment.id.to_string(), environment.name.to_string());
        }
        names.insert(project.id.to_string(), project.name.to_string());
    }
    Ok(names)
}

async fn write(context: &Context, head: Head<'_>, lines: Vec<Line>) -> Result<Invoice, ApiError> {
    let settings = settings(&context.store).await?;
    let currency = context.money.book().currency;
    let zero = Cents::of(Nano::ZERO, &currency);
    let total = lines.iter().fold(zero, |sum, line| sum + line.cents);
    let exact = lines
        .iter()
        .fold(Nano::ZERO, |sum, line| sum.saturating_add(line.exact));
    // What a credit note takes back is taxed as the invoice was.
    let percent = match head.credits {
        Some(invoice) => document(invoice)?.tax_percent,
        None => settings.tax_percent,
    };
    let tax = tax_of(total, amounts::percent(&percent).unwrap_or(0));
    let customer = context.store.setting_get(&customer_setting(head.account)).await?;
    let document = InvoiceDocument {
        seller: settings.seller,
        customer: customer.unwrap_or_else(|| head.account.name.clone()),
        account: head.account.name.clone(),
        currency,
        from: instant(head.from_ms),
        until: instant(head.until_ms),
        time_zone: context.money.settings().time_zone,
        credits: head.credits.map(|invoice| invoice.id.to_string()),
        credits_number: head.credits.and_then(|invoice| invoice.number.clone()),
        reason: head.reason.map(str::to_owned),
        total: total.to_string(),
        tax_percent: percent,
        tax: tax.to_string(),
        net: (total + tax.negated()).to_string(),
        rounding: total.nano().saturating_sub(exact).to_string(),
        lines: lines.into_iter().map(|line| line.line).collect(),
    };
    let now_ms = context.clock.now_ms();
    let invoice = Invoice {
        id: head.id,
        account: head.account.id,
        state: InvoiceState::Draft,
        number: None,
        credits: head.credits.map(|invoice| invoice.id),
        from_ms: head.from_ms,
        until_ms: head.until_ms,
        created_ms: now_ms,
        final_ms: None,
        document: serde_json::to_string(&document).map_err(ApiError::internal)?,
    };
    context.store.invoice_insert(&invoice).await?;
    Ok(invoice)
}

/// Makes a draft that takes lines of a final invoice back.
pub async fn credit(
    context: &Context,
    account: &Account,
    invoice: &Invoice,
    request: &CreditInvoice,
) -> Result<Invoice, ApiError> {
    check_text(&request.reason)?;
    if invoice.credits.is_some() || invoice.state != InvoiceState::Final {
        return Err(ApiError::conflict(
            "not-final",
            "only a final invoice that is not taken back yet can be credited",
        ));
    }
    let taken = credited(context, invoice).await?;
    let document = document(invoice)?;
    let open = |line: &&InvoiceLine| !taken.contains(&line.number);
    let wanted: Vec<&InvoiceLine> = document.lines.iter().filter(open).collect();
    if let Some(number) = request
        .lines
        .iter()
        .find(|number| !wanted.iter().any(|line| line.number == **number))
    {
        return Err(ApiError::invalid(format!(
            "the invoice has no line {number} that is not taken back yet"
        )));
    }
    let chosen = wanted
        .into_iter()
        .filter(|line| request.lines.is_empty() || request.lines.contains(&line.number));
    let mut lines = Vec::new();
    for line in chosen {
        let number = |text: &str| text.parse::<Nano>().map_err(ApiError::internal);
        let exact = Nano(-number(&line.exact)?.0);
        let cents = Cents::of(number(&line.amount)?, &document.currency).negated();
        let line = InvoiceLine {
            exact: exact.to_string(),
            amount: cents.to_string(),
            ..line.clone()
        };
        lines.push(Line { line, exact, cents });
    }
    let head = Head {
        id: InvoiceId::from_parts(context.clock.now_ms(), context.clock.random()),
        account,
        from_ms: invoice.from_ms,
        until_ms: invoice.until_ms,
        credits: Some(invoice),
        reason: Some(&request.reason),
    };
    write(context, head, lines).await
}

/// Lines of an invoice that final credit notes take back.
async fn credited(context: &Context, invoice: &Invoice) -> Result<Vec<u32>, ApiError> {
    let mut taken = Vec::new();
    for note in context.store.invoice_list(invoice.account).await? {
        if note.credits == Some(invoice.id) && note.state != InvoiceState::Draft {
            taken.extend(document(&note)?.lines.iter().map(|line| line.number));
        }
    }
    Ok(taken)
}

/// Gives a draft its number, and moves the same amounts in the ledger.
pub async fn finalize(context: &Context, id: InvoiceId) -> Result<Invoice, ApiError> {
    let _one_at_a_time = FINALIZING.lock().await;
    let store = &context.store;
    let invoice = store.invoice_by_id(id).await?;
    let invoice = invoice.ok_or_else(no_such_invoice)?;
    if invoice.state != InvoiceState::Draft {
        return Err(ApiError::conflict("not-a-draft", "it is final already"));
    }
    let document = document(&invoice)?;
    let (command, credited) = match invoice.credits {
        None => (charge(context, &invoice, &document).await?, None),
        Some(original) => take_back(context, &invoice, &document, original).await?,
    };
    if let Reply::Refused(refusal) = context.money.command(command).await? {
        return Err(refusal.into());
    }
    let now_ms = context.clock.now_ms();
    let year = civil::day_of(now_ms, &context.money.time_zone()).year();
    let series = settings(store).await?.series;
    let counter = series.replace("{year}", &year.to_string());
    let finalize = Finalize {
        id,
        series: &counter,
        now_ms,
        credited,
    };
    store
        .invoice_finalize(finalize, |number| amounts::number_of(&series, year, number))
        .await?;
    store.invoice_by_id(id).await?.ok_or_else(no_such_invoice)
}

/// What the ledger moves for an invoice.
async fn charge(context: &Context, invoice: &Invoice, document: &InvoiceDocument) -> Result<Command, ApiError> {
    for other in context.store.invoice_list(invoice.account).await? {
        let overlaps = other.from_ms < invoice.until_ms && invoice.from_ms < other.until_ms;
        if overlaps && other.credits.is_none() && other.state != InvoiceState::Draft {
            let number = other.number.unwrap_or_default();
            return Err(ApiError::conflict(
                ALREADY_INVOICED,
                format!("the invoice {number} is for a part of that time"),
            )
            .with_hint("what was used then is on it, or has been taken back by credit notes"));
        }
    }
    let mut usage: BTreeMap<Sku, Nano> = BTreeMap::new();
    for line in &document.lines {
        let sku = Sku::new(&line.sku).ok_or_else(|| ApiError::internal("a line of no known use"))?;
        let exact = line.exact.parse::<Nano>().map_err(ApiError::internal)?;
        let sum = usage.entry(sku).or_default();
        *sum = sum.saturating_add(exact);
    }
    Ok(Command::Invoice {
        id: invoice.id.to_string(),
        account: invoice.account,
        usage: usage.into_iter().collect(),
        tax: document.tax.parse().map_err(ApiError::internal)?,
        rounding: document.rounding.parse().map_err(ApiError::internal)?,
    })
}

/// What the ledger moves for a credit note, and the invoice that nothing is left of then.
async fn take_back(
    context: &Context,
    note: &Invoice,
    document: &InvoiceDocument,
    original: InvoiceId,
) -> Result<(Command, Option<InvoiceId>), ApiError> {
    let invoice = context.store.invoice_by_id(original).await?;
    let invoice = invoice.ok_or_else(no_such_invoice)?;
    let taken = credited(context, &invoice).await?;
    if let Some(line) = document.lines.iter().find(|line| taken.contains(&line.number)) {
        return Err(ApiError::conflict(
            "already-credited",
            format!("line {} is taken back already", line.number),
        ));
    }
    let all = self::document(&invoice)?.lines.len() == taken.len() + document.lines.len();
    let total: Nano = document.total.parse().map_err(ApiError::internal)?;
    let command = Command::Correct {
        id: note.id.to_string(),
        account: note.account,
        amount: Nano(-total.0),
        corrects: original.to_string(),
        reason: document.reason.clone().unwrap_or_default(),
    };
    Ok((command, all.then_some(original)))
}

/// Whether an amount can be paid: it is a whole number of the currency's smallest unit.
pub(crate) fn is_payable(amount: Nano, currency: &str) -> bool {
    Cents::of(amount, currency).nano() == amount
}

/// The document of an identity or a number.
pub async fn find(context: &Context, wanted: &str) -> Result<Invoice, ApiError> {
    if let Ok(id) = wanted.parse::<InvoiceId>() {
        let found = context.store.invoice_by_id(id).await?;
        return found.ok_or_else(no_such_invoice);
    }
    for account in context.store.account_list().await? {
        let found = context.store.invoice_list(account.id).await?;
        if let Some(invoice) = found
            .into_iter()
            .find(|invoice| invoice.number.as_deref() == Some(wanted))
        {
            return Ok(invoice);
        }
    }
    Err(no_such_invoice())
}

/// There is none, or it is not to be seen.
pub fn no_such_invoice() -> ApiError {
    ApiError::not_found("invoice-not-found", "there is no such invoice").with_hint("list them with `weir invoice list`")
}

/// A date in the time zone, or an instant at a full hour.
fn parse_hour(text: &str, zone: &TimeZone) -> Result<UnixMillis, ApiError> {
    let instant = text
        .parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond);
    let at_hour = instant.filter(|at_ms| civil::hour_of(*at_ms, zone) == *at_ms);
    at_hour.or_else(|| civil::begin_of(text, zone)).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        ApiError::invalid(format!("`{shown}` is neither a date nor an instant at a full hour"))
            .with_hint("write it like 2026-11-01 or 2026-11-01T15:00:00Z")
    })
}
