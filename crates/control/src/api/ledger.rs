//! The ledger itself: its audit, and its journal for an independent checker.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use weir_api::{Audit, JournalEntry};

use super::Api;
use super::error::ApiError;
use super::extract::QueryOf;
use super::present::instant;

/// Most entries of one answer.
const ENTRIES: i64 = 1_000;

/// The query of the journal.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalQuery {
    from: Option<i64>,
    limit: Option<i64>,
}

/// Replays the journal from its beginning and compares everything with it.
#[utoipa::path(get, path = "/v1/ledger/audit", tag = "ledger", responses((status = 200, body = Audit)))]
pub(super) async fn audit_ledger(State(api): State<Api>) -> Result<Json<Audit>, ApiError> {
    let report = api.context.money.audit().await?;
    Ok(Json(Audit {
        sound: report.findings.is_empty(),
        at: instant(api.context.clock.now_ms()),
        events: report.events,
        hash: report.hash,
        checkpoints: report.checkpoints,
        hours: report.hours,
        leases: report.leases,
        accesses: report.accesses,
        unserved_requests: report.unserved_requests,
        findings: report.findings,
    }))
}

/// Entries of the journal in order, as they were hashed; an empty list at its end.
#[utoipa::path(get, path = "/v1/ledger/journal", tag = "ledger", params(("from" = Option<i64>, Query, description = "The first entry; 1 if absent"), ("limit" = Option<i64>, Query, description = "1 to 1000; 1000 if absent")), responses((status = 200, body = Vec<JournalEntry>)))]
pub(super) async fn read_journal(
    State(api): State<Api>,
    QueryOf(query): QueryOf<JournalQuery>,
) -> Result<Json<Vec<JournalEntry>>, ApiError> {
    let after = query.from.unwrap_or(1).max(1) - 1;
    let limit = query.limit.unwrap_or(ENTRIES).clamp(1, ENTRIES);
    let rows = api.context.store.ledger_journal(after, limit).await?;
    let entry = |row: weir_store::JournalRow| JournalEntry {
        sequence: row.sequence,
        at_ms: row.at_ms,
        body: row.body,
        previous_hash: row.previous_hash,
        hash: row.hash,
    };
    Ok(Json(rows.into_iter().map(entry).collect()))
}
