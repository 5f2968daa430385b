//! How a kept answer goes out: in the coding that its client takes, and in the parts that it asks for.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::answer::{self, Cut, Piece, Source};
use super::shelf::{Entry, StoredBytes};
use super::{Cache, Hit, Part};
use crate::clock::unix_ms;
use crate::compress::{self, Coding, Effort};
use crate::headers::X_WEIR_CACHE;
use crate::table::CompiledRoute;

/// A larger body is compressed beside, and its client gets it as it is.
const COMPRESSED_AT_ONCE_BYTES: u64 = 1024 * 1024;

impl Cache {
    /// The head and body by which a kept answer goes to the client.
    pub(crate) async fn compose(
        self: &Arc<Self>,
        route: &CompiledRoute,
        hit: &Hit,
        method: &Method,
        request: &HeaderMap,
    ) -> (StatusCode, HeaderMap, Vec<Part>) {
        let entry = &hit.entry;
        let mut headers = entry.headers.clone();
        let mut body = entry.body.clone();
        if route.cache.compress && compress::is_compressible(entry.status, &entry.headers) {
            let wanted = Coding::wanted(request, Effort::Thorough).filter(|_| !request.contains_key(header::RANGE));
            let coded = match wanted {
                Some(coding) => self.coded(route, entry, coding).await.map(|body| (coding, body)),
                None => None,
            };
            compress::mark(&mut headers, coded.as_ref().map(|(coding, _)| *coding));
            if let Some((_, coded)) = coded {
                body = StoredBytes::Memory(coded);
            }
        }
        if entry.status == StatusCode::OK && !headers.contains_key(header::CONTENT_ENCODING) {
            headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        let source = Source {
            status: entry.status,
            headers: &headers,
            length: usize::try_from(body.length()).unwrap_or(usize::MAX),
        };
        let Cut {
            status,
            mut headers,
            body: pieces,
        } = answer::cut(source, method, request);
        headers.insert(header::AGE, HeaderValue::from(entry.terms.age_s(unix_ms())));
        headers.insert(X_WEIR_CACHE, hit.outcome.name());
        route.shelf.count(hit.outcome);
        let parts = pieces.into_iter().map(|piece| part(&body, piece)).collect();
        (status, headers, parts)
    }

    /// The body compressed; None if it does not get smaller, or is not ready.
    async fn coded(self: &Arc<Self>, route: &CompiledRoute, entry: &Arc<Entry>, coding: Coding) -> Option<Bytes> {
        if let Some(coded) = entry.coded[coding.index()].get() {
            return coded.clone();
        }
        let body = entry.body.in_memory()?.clone();
        let turn = Arc::clone(&self.thorough).try_acquire_owned().ok()?;
        let (cache, shelf, compressed) = (Arc::clone(self), Arc::clone(&route.shelf), Arc::clone(entry));
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let coded = compress::compress(coding, &body);
            cache.shelves.add_coded(&shelf, &compressed, coding, coded);
        });
        if entry.body.length() > COMPRESSED_AT_ONCE_BYTES {
            return None;
        }
        work.await.ok()?;
        entry.coded[coding.index()].get()?.clone()
    }
}

/// A piece of a body, to be given out.
fn part(body: &StoredBytes, piece: Piece) -> Part {
    match (piece, body) {
        (Piece::Text(text), _) => Part::Memory(text),
        (Piece::Kept { first, length }, StoredBytes::Fresh(body) | StoredBytes::Memory(body)) => {
            Part::Memory(body.slice(first..first + length))
        }
        (Piece::Kept { first, length }, StoredBytes::File(file)) => {
            let number = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
            Part::of_file(file, number(first), number(length))
        }
    }
}
