//! Invoices and credit notes.

use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse};
use http::{StatusCode, header};
use serde::Deserialize;
use weir_api::{CreateInvoice, CreditInvoice, InvoiceSettings, SetCustomer};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::{InAccount, JsonBody, PathOf, QueryOf};
use super::scopes;
use crate::invoices;

type Answer = Result<Json<weir_api::Invoice>, ApiError>;

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InvoicesQuery {
    account: Option<String>,
}

/// Invoices and credit notes of an account, newest first.
#[utoipa::path(get, path = "/v1/invoices", tag = "invoices", params(("account" = Option<String>, Query, description = "Name of the account; `default` if absent")), responses((status = 200, body = Vec<weir_api::Invoice>)))]
pub(super) async fn list_invoices(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(query): QueryOf<InvoicesQuery>,
) -> Result<Json<Vec<weir_api::Invoice>>, ApiError> {
    let name = query.account.as_deref().unwrap_or("default");
    let account = scopes::account_for(&api.context, &caller, name).await?;
    let found = api.context.store.invoice_list(account.id).await?;
    found.iter().map(invoices::shown).collect::<Result<_, _>>().map(Json)
}

/// Makes a draft of what was used in a stretch that is over.
#[utoipa::path(post, path = "/v1/invoices", tag = "invoices", request_body = CreateInvoice, responses((status = 201, body = weir_api::Invoice)))]
pub(super) async fn create_invoice(
    State(api): State<Api>,
    JsonBody(request): JsonBody<CreateInvoice>,
) -> Result<(StatusCode, Json<weir_api::Invoice>), ApiError> {
    let account = scopes::account(&api.context, &request.account).await?;
    let invoice = invoices::create(&api.context, &account, &request).await?;
    Ok((StatusCode::CREATED, Json(invoices::shown(&invoice)?)))
}

/// One invoice or credit note.
#[utoipa::path(get, path = "/v1/invoices/{invoice}", tag = "invoices", params(("invoice" = String, Path, description = "Identity or number")), responses((status = 200, body = weir_api::Invoice)))]
pub(super) async fn get_invoice(State(api): State<Api>, PathOf(id): PathOf<String>) -> Answer {
    invoices::shown(&invoices::find(&api.context, &id).await?).map(Json)
}

/// The same as a page to print.
#[utoipa::path(get, path = "/v1/invoices/{invoice}/html", tag = "invoices", params(("invoice" = String, Path, description = "Identity or number")), responses((status = 200, content_type = "text/html", body = String)))]
pub(super) async fn get_invoice_html(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<impl IntoResponse, ApiError> {
    let invoice = invoices::shown(&invoices::find(&api.context, &id).await?)?;
    Ok(Html(invoices::html(&invoice)))
}

/// The same as a PDF.
#[utoipa::path(get, path = "/v1/invoices/{invoice}/pdf", tag = "invoices", params(("invoice" = String, Path, description = "Identity or number")), responses((status = 200, content_type = "application/pdf", body = Vec<u8>)))]
pub(super) async fn get_invoice_pdf(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<impl IntoResponse, ApiError> {
    let invoice = invoices::shown(&invoices::find(&api.context, &id).await?)?;
    Ok(([(header::CONTENT_TYPE, "application/pdf")], invoices::pdf(&invoice)?))
}

/// Discards a draft.
#[utoipa::path(delete, path = "/v1/invoices/{invoice}", tag = "invoices", params(("invoice" = String, Path, description = "Identity")), responses((status = 204)))]
pub(super) async fn discard_invoice(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<StatusCode, ApiError> {
    let invoice = invoices::find(&api.context, &id).await?;
    if api.context.store.invoice_discard(invoice.id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::conflict("not-a-draft", "a final document is never removed")
        .with_hint("take it back with `weir invoice credit`"))
}

/// Gives a draft its number; it never changes afterwards.
#[utoipa::path(post, path = "/v1/invoices/{invoice}/finalize", tag = "invoices", params(("invoice" = String, Path, description = "Identity")), responses((status = 200, body = weir_api::Invoice)))]
pub(super) async fn finalize_invoice(State(api): State<Api>, PathOf(id): PathOf<String>) -> Answer {
    let invoice = invoices::find(&api.context, &id).await?;
    invoices::shown(&invoices::finalize(&api.context, invoice.id).await?).map(Json)
}

/// Makes a draft of a credit note, which takes lines of a final invoice back.
#[utoipa::path(post, path = "/v1/invoices/{invoice}/credit", tag = "invoices", params(("invoice" = String, Path, description = "Identity or number")), request_body = CreditInvoice, responses((status = 201, body = weir_api::Invoice)))]
pub(super) async fn credit_invoice(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
    JsonBody(request): JsonBody<CreditInvoice>,
) -> Result<(StatusCode, Json<weir_api::Invoice>), ApiError> {
    let invoice = invoices::find(&api.context, &id).await?;
    let accounts = api.context.store.account_list().await?;
    let account = accounts.into_iter().find(|account| account.id == invoice.account);
    let account = account.ok_or_else(invoices::no_such_invoice)?;
    let note = invoices::credit(&api.context, &account, &invoice, &request).await?;
    Ok((StatusCode::CREATED, Json(invoices::shown(&note)?)))
}

/// What is the same on all invoices.
#[utoipa::path(get, path = "/v1/invoice-settings", tag = "invoices", responses((status = 200, body = InvoiceSettings)))]
pub(super) async fn get_invoice_settings(State(api): State<Api>) -> Result<Json<InvoiceSettings>, ApiError> {
    invoices::settings(&api.context.store).await.map(Json)
}

/// Changes it for documents that are made from now on.
#[utoipa::path(put, path = "/v1/invoice-settings", tag = "invoices", request_body = InvoiceSettings, responses((status = 200, body = InvoiceSettings)))]
pub(super) async fn set_invoice_settings(
    State(api): State<Api>,
    JsonBody(request): JsonBody<InvoiceSettings>,
) -> Result<Json<InvoiceSettings>, ApiError> {
    invoices::set_settings(&api.context.store, &request).await?;
    Ok(Json(request))
}

/// Sets whom invoices of an account are for.
#[utoipa::path(put, path = "/v1/accounts/{account}/address", tag = "invoices", params(("account" = String, Path, description = "Name of the account")), request_body = SetCustomer, responses((status = 204)))]
pub(super) async fn set_customer(
    State(api): State<Api>,
    InAccount { account }: InAccount,
    JsonBody(request): JsonBody<SetCustomer>,
) -> Result<StatusCode, ApiError> {
    invoices::set_customer(&api.context.store, &account, &request.address).await?;
    Ok(StatusCode::NO_CONTENT)
}
