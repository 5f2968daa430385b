//! The audit log, to search and to take along.

use std::collections::VecDeque;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, header};
use serde::Deserialize;
use weir_api::{AuditEntry, AuditWho};
use weir_model::policy::{Permission, Place, Reach};
use weir_store::AuditSearch;

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::QueryOf;
use super::logs::parse_since;
use super::present::instant;

/// Entries of one answer, unless fewer or more are asked for.
const ENTRIES: i64 = 100;
const MOST: i64 = 500;

/// The query of the audit log.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    before: Option<i64>,
    limit: Option<i64>,
    since: Option<String>,
    until: Option<String>,
    who: Option<String>,
    operation: Option<String>,
    scope: Option<String>,
    text: Option<String>,
    format: Option<String>,
}

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Lines,
}

/// What was done in what the one who asks looks after, newest first. As JSON lines or CSV all that
/// match, streamed.
#[utoipa::path(get, path = "/v1/audit", tag = "audit",
    params(("before" = Option<i64>, Query, description = "Only entries before this sequence"), ("limit" = Option<i64>, Query, description = "1 to 500; 100 if absent"),
        ("since" = Option<String>, Query, description = "A duration back from now (90s, 15m, 1h, 2d) or an RFC 3339 instant"), ("until" = Option<String>, Query, description = "Likewise"),
        ("who" = Option<String>, Query, description = "Part of a name, or an identity"), ("operation" = Option<String>, Query, description = "Part of METHOD /path"),
        ("scope" = Option<String>, Query, description = "weir, account:NAME, PROJECT or PROJECT/ENVIRONMENT"), ("text" = Option<String>, Query, description = "Part of any text"),
        ("format" = Option<String>, Query, description = "`csv` or `jsonl`: all that match, also by `Accept`")),
    responses((status = 200, description = "Entries", content((Vec<AuditEntry> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson")))))]
pub(super) async fn list_audit(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(query): QueryOf<AuditQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let format = format_of(&query, &headers)?;
    let now_ms = api.context.clock.now_ms();
    let instant_of = |text: &str| parse_since(text, now_ms);
    let limit = query.limit.unwrap_or(ENTRIES).clamp(1, MOST);
    let search = AuditSearch {
        before: query.before,
        since_ms: query.since.as_deref().map(instant_of).transpose()?,
        until_ms: query.until.as_deref().map(instant_of).transpose()?,
        who: query.who,
        route: query.operation,
        scope: query.scope,
        text: query.text,
        within: within(&caller),
        limit,
    };
    let Some(format) = format else {
        let found = api.context.store.audit_list(&search).await?;
        return Ok(Json(found.iter().map(shown).collect::<Vec<_>>()).into_response());
    };
    Ok(export(api, search, format))
}

fn format_of(query: &AuditQuery, headers: &HeaderMap) -> Result<Option<Format>, ApiError> {
    let accepts = |wanted: &str| {
        let mut values = headers.get_all(header::ACCEPT).iter();
        values.any(|value| value.to_str().is_ok_and(|value| value.contains(wanted)))
    };
    match query.format.as_deref() {
        Some("csv") => Ok(Some(Format::Csv)),
        Some("jsonl") => Ok(Some(Format::Lines)),
        Some(_) => Err(ApiError::invalid("the format is `csv` or `jsonl`")),
        None if accepts("text/csv") => Ok(Some(Format::Csv)),
        None if accepts("application/x-ndjson") => Ok(Some(Format::Lines)),
        None => Ok(None),
    }
}

/// What is looked through for the one who asks: everything, or what they look after.
fn within(caller: &Caller) -> Option<Vec<String>> {
    if caller.rights.may(Permission::SeeAudit, Place::Platform) {
        return None;
    }
    let grants = caller.rights.grants().iter();
    let reaches = grants.filter(|grant| grant.power.allows(Permission::SeeAudit));
    Some(reaches.map(|grant| Reach::key(grant.reach)).collect())
}

fn shown(entry: &weir_store::AuditEntry) -> AuditEntry {
    let outcome = match entry.status {
        ..=399 => "done",
        401 | 403 | 404 | 429 => "refused",
        _ => "failed",
    };
    AuditEntry {
        sequence: entry.sequence,
        at: instant(entry.at_ms),
        who: AuditWho {
            kind: entry.who_kind.clone(),
            id: entry.who_id.clone(),
            name: entry.who.clone(),
        },
        role: entry.role.clone(),
        address: entry.address.clone(),
        agent: entry.agent.clone(),
        operation: format!("{} {}", entry.method, entry.route),
        scope: entry.scope.clone(),
        target: entry.target.clone(),
        outcome: outcome.to_owned(),
        status: entry.status,
        request: entry.request.clone(),
        detail: entry.detail.clone(),
    }
}

/// All that match, a page at a time, so that any number fits into memory.
fn export(api: Api, search: AuditSearch, format: Format) -> Response {
    let (media_type, name, head) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "audit.csv", HEAD),
        Format::Lines => ("application/x-ndjson", "audit.jsonl", ""),
    };
    let begun = (
        VecDeque::from([Bytes::from_static(head.as_bytes())]),
        Some(AuditSearch { limit: MOST, ..search }),
    );
    let pieces = stream::try_unfold(begun, move |(mut ready, rest)| {
        let api = api.clone();
        async move {
            if let Some(piece) = ready.pop_front() {
                return Ok(Some((piece, (ready, rest))));
            }
            let Some(search) = rest else {
                return Ok(None);
            };
            let found = api.context.store.audit_list(&search).await?;
            let Some(last) = found.last() else {
                return Ok(None);
            };
            let next = AuditSearch {
                before: Some(last.sequence),
                ..search
            };
            let piece: String = found.iter().map(|entry| written(entry, format)).collect();
            Ok::<_, weir_store::StoreError>(Some((Bytes::from(piece), (ready, Some(next)))))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

const HEAD: &str =
    "sequence,at,kind,who,identity,role,address,agent,operation,scope,target,outcome,status,request,detail\r\n";

fn written(entry: &weir_store::AuditEntry, format: Format) -> String {
    let entry = shown(entry);
    if format == Format::Lines {
        return serde_json::to_string(&entry).unwrap_or_default() + "\n";
    }
    let (sequence, status) = (entry.sequence.to_string(), entry.status.to_string());
    let cells = [
        &sequence,
        &entry.at,
        &entry.who.kind,
        &entry.who.name,
        entry.who.id.as_ref().unwrap_or(&String::new()),
        &entry.role,
        &entry.address,
        &entry.agent,
        &entry.operation,
        &entry.scope,
        &entry.target,
        &entry.outcome,
        &status,
        &entry.request,
        &entry.detail,
    ]
    .map(|text| cell(text));
    cells.join(",") + "\r\n"
}

/// A cell of CSV that no program for tables takes for a formula: what begins like one gets an
/// apostrophe before it.
fn cell(text: &str) -> String {
    let formula = text
        .trim_start_matches([' ', '\u{a0}'])
        .starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let mark = if formula { "'" } else { "" };
    format!("\"{mark}{}\"", text.replace('"', "\"\"").replace('\0', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_leaves_its_quotes() {
        assert_eq!(cell("anna"), "\"anna\"");
        assert_eq!(cell("a \"b\", c\n"), "\"a \"\"b\"\", c\n\"");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1"] {
            assert!(cell(formula).starts_with("\"'"), "{formula}");
        }
    }
}
