//! Price books: versions that are published once and never changed.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use weir_api::{PriceChange, PublishPrices, SkuChange, SkuPrice};
use weir_ledger::book::{Command, Scope};
use weir_ledger::{Nano, Price, PriceBook, Sku};
use weir_model::UnixMillis;

use super::Api;
use super::error::ApiError;
use super::extract::{JsonBody, PathOf};
use super::present::instant;
use super::scopes;
use crate::context::Context;
use crate::money::{Bucket, CostQuery};
use weir_ledger::price::file::{self as price_file, PriceFile};

/// So far back a file may want to hold without that being a mistake.
const LATE_MS: i64 = 60_000;

/// All versions of the prices, newest first.
#[utoipa::path(get, path = "/v1/prices", tag = "prices", responses((status = 200, body = Vec<weir_api::PriceBook>)))]
pub(super) async fn list_prices(State(api): State<Api>) -> Result<Json<Vec<weir_api::PriceBook>>, ApiError> {
    Ok(Json(books(&api.context)))
}

/// One version of the prices.
#[utoipa::path(get, path = "/v1/prices/{version}", tag = "prices", params(("version" = u32, Path, description = "Its number")), responses((status = 200, body = weir_api::PriceBook)))]
pub(super) async fn get_prices(
    State(api): State<Api>,
    PathOf(version): PathOf<String>,
) -> Result<Json<weir_api::PriceBook>, ApiError> {
    let found = books(&api.context)
        .into_iter()
        .find(|book| book.version.to_string() == version);
    let missing = || {
        let shown: String = version.chars().take(20).collect();
        ApiError::not_found("prices-not-found", format!("there is no version {shown} of the prices"))
            .with_hint("list them with `weir prices --all`")
    };
    found.map(Json).ok_or_else(missing)
}

/// Publishes a new version of the prices. What is leased already keeps its prices.
#[utoipa::path(post, path = "/v1/prices", tag = "prices", request_body = PublishPrices, responses((status = 201, body = PriceChange), (status = 200, body = PriceChange, description = "Only told what would change")))]
pub(super) async fn publish_prices(
    State(api): State<Api>,
    JsonBody(request): JsonBody<PublishPrices>,
) -> Result<(StatusCode, Json<PriceChange>), ApiError> {
    let change = publish(&api.context, &request).await?;
    let status = if change.done {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(change)))
}

/// A price as the API tells it.
pub(super) fn price(sku: &Sku, price: Price) -> weir_api::Price {
    weir_api::Price {
        pico: price.pico.to_string(),
        per: price.per.to_string(),
        text: price_file::price_text(sku, price),
    }
}

fn books(context: &Context) -> Vec<weir_api::PriceBook> {
    let mut books = context.money.books();
    let in_force = context.money.book().version;
    books.sort_by_key(|book| std::cmp::Reverse(book.version));
    let told = |book: &PriceBook| weir_api::PriceBook {
        version: book.version,
        currency: book.currency.clone(),
        valid_from: instant(book.valid_from_ms),
        in_force: in_force == book.version,
        prices: book
            .prices
            .iter()
            .map(|(sku, of)| SkuPrice {
                sku: sku.to_string(),
                price: price(sku, *of),
            })
            .collect(),
        toml: price_file::write(book),
    };
    books.iter().map(told).collect()
}

async fn publish(context: &Context, request: &PublishPrices) -> Result<PriceChange, ApiError> {
    let now_ms = context.clock.now_ms();
    let file = price_file::read(&request.toml).map_err(|problems| {
        ApiError::invalid("these are not prices")
            .with_detail(problems.to_string())
            .with_hint("`weir prices show VERSION --toml` shows how a file looks")
    })?;
    let books = context.money.books();
    let newest = books.iter().max_by_key(|book| book.version);
    check_currency(context, &file, newest, now_ms).await?;
    let valid_from_ms = match file.valid_from_ms {
        Some(at_ms) if at_ms < now_ms - LATE_MS => {
            return Err(
                ApiError::invalid(format!("prices cannot hold from the past ({})", instant(at_ms)))
                    .with_detail("what was leased before has its prices already")
                    .with_hint("leave `valid-from` out to have them hold at once"),
            );
        }
        Some(at_ms) => at_ms.max(now_ms),
        None => now_ms,
    };
    let book = PriceBook {
        version: newest.map_or(1, |book| book.version + 1),
        currency: file.currency,
        valid_from_ms,
        prices: file.prices,
    };
    let change = PriceChange {
        version: book.version,
        valid_from: instant(valid_from_ms),
        done: !request.dry_run,
        changes: changes(newest, &book),
    };
    if !request.dry_run {
        scopes::command(context, Command::Publish { book }).await?;
    }
    Ok(change)
}

/// Amounts of caps and balances are in the currency of the prices, so it stays once anything was
/// spent or paid.
async fn check_currency(
    context: &Context,
    file: &PriceFile,
    newest: Option<&PriceBook>,
    now_ms: UnixMillis,
) -> Result<(), ApiError> {
    let Some(newest) = newest.filter(|newest| newest.currency != file.currency) else {
        return Ok(());
    };
    for account in context.store.account_list().await? {
        let rows = context
            .money
            .costs(CostQuery {
                scope: Scope::Account(account.id),
                from_ms: 0,
                until_ms: now_ms + 1,
                bucket: Bucket::Total,
                by: Vec::new(),
            })
            .await?;
        let standing = scopes::standing(context, Scope::Account(account.id))?;
        let paid = super::accounts::has_money(context, account.id);
        if paid || standing.held > Nano::ZERO || rows.iter().any(|row| row.amount != Nano::ZERO) {
            return Err(ApiError::conflict(
                "other-currency",
                format!(
                    "these prices are in {}, and all amounts here are in {}",
                    file.currency, newest.currency
                ),
            )
            .with_detail("the currency can be changed only as long as nothing was spent or paid"));
        }
    }
    Ok(())
}

/// What differs, by SKU.
fn changes(before: Option<&PriceBook>, after: &PriceBook) -> Vec<SkuChange> {
    let of = |book: Option<&PriceBook>, sku: &Sku| book.and_then(|book| book.prices.get(sku).copied());
    let all: BTreeSet<&Sku> = before
        .iter()
        .flat_map(|book| book.prices.keys())
        .chain(after.prices.keys())
        .collect();
    let mut changes = Vec::new();
    for sku in all {
        let (was, is) = (of(before, sku), of(Some(after), sku));
        let same = was == is || was.zip(is).is_some_and(|(was, is)| price_file::is_same(was, is));
        if !same {
            changes.push(SkuChange {
                sku: sku.to_string(),
                before: was.map(|was| price(sku, was)),
                after: is.map(|is| price(sku, is)),
            });
        }
    }
    changes
}
