//! Outside payment and billing systems: top-ups in, usage and documents out.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request, State};
use http::StatusCode;
use serde::Deserialize;
use weir_api::{Billing, OutsideSystem, RecordCounts, Retried, SetOutside, SetTopups, Topup, TopupsSecret};
use weir_store::{Account, BillingRecord, RecordState};

use super::Api;
use super::auth::peer_of;
use super::error::ApiError;
use super::extract::{JsonBody, PathOf, QueryOf, body_error};
use super::present::instant;
use crate::billing::{self, TopupError};
use crate::context::Context;
use crate::secrets::Secret;

/// The query of the list of records.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordsQuery {
    state: Option<String>,
    limit: Option<i64>,
}

/// Which outside systems are connected, and how far they know.
#[utoipa::path(get, path = "/v1/billing", tag = "billing", responses((status = 200, body = Billing)))]
pub(super) async fn get_billing(State(api): State<Api>) -> Result<Json<Billing>, ApiError> {
    let store = &api.context.store;
    let mut records = RecordCounts::default();
    for (state, count) in store.billing_record_count().await? {
        match state {
            RecordState::Pending => records.pending = count,
            RecordState::Unconfirmed => records.unconfirmed = count,
            RecordState::Confirmed => records.confirmed = count,
            RecordState::Failed => records.failed = count,
        }
    }
    Ok(Json(Billing {
        topups: billing::takes_topups(store).await?,
        outside: billing::outside(store).await?.map(present_outside),
        records,
    }))
}

/// Books money that a payment system has taken in. Signed instead of a token; the same id with the
/// same content is booked once.
#[utoipa::path(post, path = "/v1/billing/topups", tag = "billing", request_body = Topup, responses((status = 200, body = Topup)))]
pub(super) async fn create_topup(State(api): State<Api>, request: Request) -> Result<Json<Topup>, ApiError> {
    let (parts, body) = request.into_parts();
    let body = Bytes::from_request(Request::from_parts(parts.clone(), body), &api).await;
    let body = body.map_err(|error| body_error(error.status(), &error.body_text()))?;
    let context = &api.context;
    match billing::receive(context, &parts.headers, &body).await {
        Ok(topup) => Ok(Json(topup)),
        Err(TopupError::Refused(error)) => Err(error),
        Err(TopupError::NotSigned(error)) => {
            api.limiter.failed(peer_of(&parts), context.clock.now_ms())?;
            Err(error)
        }
    }
}

/// Takes top-ups from a payment system, signed with the secret that is given, or with the one in the
/// answer, and with no other.
#[utoipa::path(put, path = "/v1/billing/topups", tag = "billing", request_body = SetTopups, responses((status = 200, body = TopupsSecret)))]
pub(super) async fn set_topups(
    State(api): State<Api>,
    JsonBody(request): JsonBody<SetTopups>,
) -> Result<Json<TopupsSecret>, ApiError> {
    let secret = billing::set_topups(&api.context, &request).await?;
    Ok(Json(TopupsSecret {
        secret: secret.map(Secret::into_exposed),
    }))
}

/// Takes no top-ups any more.
#[utoipa::path(delete, path = "/v1/billing/topups", tag = "billing", responses((status = 204)))]
pub(super) async fn unset_topups(State(api): State<Api>) -> Result<StatusCode, ApiError> {
    billing::unset_topups(&api.context.store).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells a billing system of usage, invoices and credit notes from now on.
#[utoipa::path(put, path = "/v1/billing/outside", tag = "billing", request_body = SetOutside, responses((status = 200, body = OutsideSystem)))]
pub(super) async fn set_outside(
    State(api): State<Api>,
    JsonBody(request): JsonBody<SetOutside>,
) -> Result<Json<OutsideSystem>, ApiError> {
    let (outside, secret) = billing::set_outside(&api.context, &request).await?;
    Ok(Json(OutsideSystem {
        secret: secret.map(Secret::into_exposed),
        ..present_outside(outside)
    }))
}

/// Tells nobody any more. What was not sent waits.
#[utoipa::path(delete, path = "/v1/billing/outside", tag = "billing", responses((status = 204)))]
pub(super) async fn unset_outside(State(api): State<Api>) -> Result<StatusCode, ApiError> {
    billing::unset_outside(&api.context.store).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Records for the outside system, newest first.
#[utoipa::path(get, path = "/v1/billing/records", tag = "billing", params(("state" = Option<String>, Query, description = "Only those that are pending, unconfirmed, confirmed or failed"), ("limit" = Option<i64>, Query, description = "1 to 500; 50 if absent")), responses((status = 200, body = Vec<weir_api::BillingRecord>)))]
pub(super) async fn list_records(
    State(api): State<Api>,
    QueryOf(query): QueryOf<RecordsQuery>,
) -> Result<Json<Vec<weir_api::BillingRecord>>, ApiError> {
    let state = query.state.map(|state| state.parse::<RecordState>()).transpose();
    let state = state.map_err(ApiError::invalid)?;
    let limit = query.limit.unwrap_or(50).clamp(1, 500);
    let records = api.context.store.billing_record_list(state, limit).await?;
    let accounts = api.context.store.account_list().await?;
    Ok(Json(records.iter().map(|record| present(record, &accounts)).collect()))
}

/// One record, with what is sent.
#[utoipa::path(get, path = "/v1/billing/records/{record}", tag = "billing", params(("record" = String, Path, description = "Identity")), responses((status = 200, body = weir_api::BillingRecord)))]
pub(super) async fn get_record(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<Json<weir_api::BillingRecord>, ApiError> {
    let record = find(&api.context, &id).await?;
    let shown = present(&record, &api.context.store.account_list().await?);
    Ok(Json(weir_api::BillingRecord {
        body: Some(record.body),
        ..shown
    }))
}

/// Has a record sent and read back again, whatever became of it.
#[utoipa::path(post, path = "/v1/billing/records/{record}/retry", tag = "billing", params(("record" = String, Path, description = "Identity")), responses((status = 202, body = Retried)))]
pub(super) async fn retry_record(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<(StatusCode, Json<Retried>), ApiError> {
    let record = find(&api.context, &id).await?;
    retry(&api.context, Some(&record.id)).await
}

/// Has all that failed sent again.
#[utoipa::path(post, path = "/v1/billing/retry", tag = "billing", responses((status = 202, body = Retried)))]
pub(super) async fn retry_failed(State(api): State<Api>) -> Result<(StatusCode, Json<Retried>), ApiError> {
    retry(&api.context, None).await
}

async fn retry(context: &Context, id: Option<&str>) -> Result<(StatusCode, Json<Retried>), ApiError> {
    let records = context.store.billing_record_retry(id, context.clock.now_ms()).await?;
    Ok((StatusCode::ACCEPTED, Json(Retried { records })))
}

async fn find(context: &Context, id: &str) -> Result<BillingRecord, ApiError> {
    let found = context.store.billing_record_by_id(id).await?;
    found.ok_or_else(|| {
        ApiError::not_found("record-not-found", "there is no such record")
            .with_hint("list them with `weir billing records`")
    })
}

fn present_outside(outside: billing::Outside) -> OutsideSystem {
    OutsideSystem {
        url: outside.url,
        allow_private: outside.private,
        since: instant(outside.since_ms),
        secret: None,
    }
}

fn present(record: &BillingRecord, accounts: &[Account]) -> weir_api::BillingRecord {
    let account = accounts.iter().find(|account| account.id == record.account);
    let tried = matches!(record.state, RecordState::Pending | RecordState::Unconfirmed);
    weir_api::BillingRecord {
        id: record.id.clone(),
        kind: record.kind.to_string(),
        account: account.map_or_else(|| record.account.to_string(), |account| account.name.clone()),
        amount: record.amount.clone(),
        sha256: billing::sha256_of(&record.body),
        state: record.state.to_string(),
        since: instant(record.entered_ms),
        created: instant(record.created_ms),
        attempts: record.attempts,
        next: tried.then(|| instant(record.next_ms)),
        answer: record.answer.clone(),
        problem: record.problem.clone(),
        body: None,
    }
}
