//! What nodes keep of answers, and having them forget it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use weir_api::{CachePurged, CacheStatus, PurgeCache};
use weir_model::cache::CacheCounts;

use super::Api;
use super::error::ApiError;
use super::extract::{InEnvironment, JsonBody};

/// Longest path of a purge, in bytes.
const PATH_BYTES: usize = 2_048;
const HOST_BYTES: usize = 253;

/// What is kept of the environment's answers.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/cache", tag = "cache", responses((status = 200, body = CacheStatus)))]
pub(super) async fn get_cache(State(api): State<Api>, at: InEnvironment) -> Result<Json<CacheStatus>, ApiError> {
    Ok(Json(status(api.context.reconciler.cache_counts(at.environment.id))))
}

/// Has all nodes forget answers, and waits until they have: what is asked for from then on comes from
/// the app.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/cache/purge", tag = "cache", request_body = PurgeCache, responses((status = 200, body = CachePurged)))]
pub(super) async fn purge_cache(
    State(api): State<Api>,
    at: InEnvironment,
    JsonBody(request): JsonBody<PurgeCache>,
) -> Result<Json<CachePurged>, ApiError> {
    let host = request.host.as_deref().map(host).transpose()?;
    let path = request.path.map(path).transpose()?;
    let context = &api.context;
    let reconciler = &context.reconciler;
    let number = reconciler.cache_purge(at.environment.id, host, path, context.clock.now_ms());
    if reconciler.cache_purged(number).await {
        return Ok(Json(CachePurged { number }));
    }
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not-confirmed",
        "not every node has said that it has forgotten these answers",
    )
    .with_hint(
        "they forget them as soon as they are reached; `weir status` shows whether they are. \
             Purging again does no harm",
    ))
}

fn host(text: &str) -> Result<String, ApiError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if text.is_empty() || text.len() > HOST_BYTES || !text.bytes().all(fits) {
        return Err(ApiError::invalid(format!(
            "`{}` is not the name of a host; name it like shop.example.org, without port and path",
            text.chars().take(64).collect::<String>()
        )));
    }
    Ok(text.trim_end_matches('.').to_ascii_lowercase())
}

fn path(text: String) -> Result<String, ApiError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    let star = text.find('*').is_none_or(|at| at + 1 == text.len());
    if !text.starts_with('/') || text.len() > PATH_BYTES || !plain || !star {
        return Err(ApiError::invalid(
            "the path of a purge begins with /, is written as in an address (a space as %20), and has * only at \
             its end: /img/*",
        ));
    }
    Ok(text)
}

fn status(counts: CacheCounts) -> CacheStatus {
    let saved = counts.hits + counts.stale + counts.revalidated;
    let all = saved + counts.misses;
    CacheStatus {
        entries: counts.entries,
        bytes: counts.bytes,
        disk_bytes: counts.disk_bytes,
        hits: counts.hits,
        misses: counts.misses,
        stale: counts.stale,
        revalidated: counts.revalidated,
        #[expect(clippy::cast_precision_loss, reason = "a rate to look at")]
        hit_rate: (all > 0).then(|| saved as f64 / all as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_host_or_a_path_is_refused() {
        assert_eq!(host("Shop.Example.org.").unwrap(), "shop.example.org");
        for text in ["", "a b", "shop:80", "shop/x", "http://shop", &"a".repeat(254)] {
            assert!(host(text).is_err(), "{text}");
        }
        for text in ["/", "/img/*", "/*", "/a%20b?x=1"] {
            assert!(path(text.to_owned()).is_ok(), "{text}");
        }
        for text in [
            "",
            "img",
            "/a b",
            "/*/x",
            "/a**",
            "*",
            &format!("/{}", "a".repeat(2_048)),
        ] {
            assert!(path(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_rate_is_of_what_could_be_kept() {
        assert_eq!(status(CacheCounts::default()).hit_rate, None);
        let counts = CacheCounts {
            hits: 2,
            stale: 1,
            misses: 1,
            ..CacheCounts::default()
        };
        assert_eq!(status(counts).hit_rate, Some(0.75));
    }
}
