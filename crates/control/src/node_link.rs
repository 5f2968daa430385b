//! Control's end of the link to the nodes: plain HTTP on a Unix socket. A node asks for the
//! newest snapshot and waits; it tells what it serves by and what goes on; it asks for money and
//! tells what it has spent. Either side may vanish for a while.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use weir_ledger::protocol::Exchange;
use weir_model::access_log::AccessBatch;
use weir_model::route::NodeReport;

use crate::context::Context;
use crate::money::MoneyError;
use crate::reconcile::RouteBatch;

/// Longest wait of a node for a newer snapshot.
const LONGEST_POLL: Duration = Duration::from_secs(20);
/// Reports grow with the number of instances; this is room for a hundred thousand.
const LONGEST_REPORT_BYTES: usize = 16 << 20;

#[derive(Debug, Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

#[derive(Debug, Deserialize)]
struct AfterGeneration {
    #[serde(default)]
    after: u64,
    /// Which run of control gave it out. Nodes of an earlier version do not say so, and get
    /// everything.
    epoch: Option<u64>,
}

/// `GET /node/snapshot?after=GENERATION&epoch=RUN`, `GET /node/certificates?after=VERSION`, `POST /node/report` and `POST /node/ledger`.
pub fn router(context: Context) -> Router {
    Router::new()
        .route("/node/snapshot", get(snapshot))
        .route("/node/certificates", get(certificates))
        .route("/node/report", post(report))
        .route("/node/access-log", post(access_log))
        .route("/node/ledger", post(ledger))
        .layer(DefaultBodyLimit::max(LONGEST_REPORT_BYTES))
        .with_state(context)
}

async fn snapshot(State(context): State<Context>, Query(asked): Query<AfterGeneration>) -> Response {
    let AfterGeneration { after, epoch } = asked;
    let mut snapshots = context.reconciler.snapshots();
    let is_ours = epoch.is_none_or(|epoch| epoch == context.reconciler.route_epoch());
    // Not equal instead of greater: a node whose snapshot comes from a control with a clock
    // that was ahead must get ours at once; it reports, and the numbers go on above its own.
    let newer = snapshots.wait_for(|newest| newest.generation != 0 && (newest.generation != after || !is_ours));
    let result = tokio::select! {
        waited = tokio::time::timeout(LONGEST_POLL, newer) => waited,
        () = context.stop.cancelled() => return StatusCode::NO_CONTENT.into_response(),
    };
    match (result.is_ok_and(|waited| waited.is_ok()), epoch) {
        (true, Some(epoch)) => batch(context.reconciler.route_batch(epoch, after)),
        (true, None) => Json(context.reconciler.snapshot()).into_response(),
        (false, _) => StatusCode::NO_CONTENT.into_response(),
    }
}

/// A line of JSON for each environment; it is made as it is sent.
fn batch(batch: RouteBatch) -> Response {
    match batch.pieces() {
        Ok(pieces) => {
            let pieces = pieces.map(|piece| Ok::<_, Infallible>(Bytes::from(piece)));
            let kind = (header::CONTENT_TYPE, "application/x-ndjson");
            ([kind], Body::from_stream(stream::iter(pieces))).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The newest certificates and questions of authorities, once they are others than the node has.
async fn certificates(State(context): State<Context>, Query(After { after }): Query<After>) -> Response {
    let mut sets = context.certificates.subscribe();
    let newer = sets.wait_for(|set| set.version != 0 && set.version != after);
    let result = tokio::select! {
        waited = tokio::time::timeout(LONGEST_POLL, newer) => waited,
        () = context.stop.cancelled() => return StatusCode::NO_CONTENT.into_response(),
    };
    match result {
        Ok(Ok(set)) => Json(&**set).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn report(State(context): State<Context>, Json(report): Json<NodeReport>) -> StatusCode {
    let served = context.money.note_access(&report);
    context.reconciler.node_reported(report, context.clock.now_ms());
    if let Some(applied) = context.reconciler.applied_certificates() {
        context.certificates.node_reported(applied);
    }
    if let Some(served) = served {
        context.money.keep_access(served).await;
    }
    StatusCode::NO_CONTENT
}

/// Lines of access logs; they are kept once this is answered.
async fn access_log(State(context): State<Context>, Json(batch): Json<AccessBatch>) -> Response {
    match crate::access_log::receive(&context, &batch).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

/// A node's meter speaks to the ledger; answered once that is durable. 503 if it cannot be
/// recorded now: nothing has changed, or the same question gets the same answer later.
async fn ledger(State(context): State<Context>, Json(exchange): Json<Exchange>) -> Response {
    match context.money.exchange(exchange).await {
        Ok(answer) => Json(answer).into_response(),
        Err(MoneyError::Refused(refusal)) => (StatusCode::BAD_REQUEST, refusal.to_string()).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
