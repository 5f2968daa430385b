//! The phase in which an instance has the request: until its answer begins, or it is certain that
//! there is none.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::time::{Instant, sleep_until};

use super::{Call, deliver};
use crate::admission::Slot;
use crate::body::{AnswerBody, BodyRefused, Ending, Upload};
use crate::counters::count;
use crate::node::{Shared, Worker};
use crate::pages::Page;
use crate::table::CompiledRoute;
use crate::upstream::{self, AnswerStream, Broken, Connection, Failed, Kept, Repeatable, Sent};

/// Why there is no answer.
enum NoAnswer {
    Broken(Box<Failed>),
    FirstByteTimeout,
    BodyTimeout,
}

/// Sends the request and waits for the head of the answer. None: it certainly had no effect,
/// or does no harm when repeated, and is to be sent again.
pub(super) async fn exchange(
    worker: &Arc<Worker>,
    route: &CompiledRoute,
    slot: Slot,
    connection: Connection,
    call: &mut Call,
) -> Result<Option<Response<AnswerBody>>, Page> {
    let Some(request) = call.outgoing.take() else {
        return Err(Page::broken(&route.title));
    };
    let upload = request.body().upload();
    let Connection { wire, reused } = connection;
    let served = call.served(worker, route);
    call.served = Some(served);
    let answer = upstream::send(wire, request);
    let no_answer = match first_byte(&worker.shared, route.first_byte_timeout, answer, upload.as_deref()).await {
        Ok(answer) => {
            slot.instance.count_answer();
            if let Some(upload) = &upload {
                upload.answered();
            }
            let ending = Ending {
                slot,
                kept: Kept::new(worker),
                passage: call.passage.take(),
                upload,
            };
            return deliver(worker, route, answer, ending, call).await.map(Some);
        }
        Err(no_answer) => no_answer,
    };
    if !matches!(no_answer, NoAnswer::BodyTimeout) {
        slot.instance.count_failure();
    }
    let failed = match no_answer {
        NoAnswer::FirstByteTimeout => {
            return Err(Page::first_byte_timeout(
                &route.title,
                route.first_byte_timeout.as_secs().max(1),
            ));
        }
        NoAnswer::BodyTimeout => return Err(Page::body_timeout()),
        NoAnswer::Broken(failed) => failed,
    };
    let Failed { error, request, unsent } = *failed;
    if upload.as_ref().is_some_and(|upload| upload.has_failed()) || matches!(error, Broken::RequestBody) {
        return Err(upload_page(worker, route, upload.as_deref()));
    }
    if unsent {
        // Not a byte of it was written.
        count(&worker.counters.retries);
        call.outgoing = Some(request);
        return Ok(None);
    }
    tracing::debug!(instance.id = %slot.instance.backend.instance, %error, reused, "an exchange with an instance broke");
    if matches!(error, Broken::BadAnswer(_)) {
        return Err(Page::bad_answer(&route.title));
    }
    call.broken += 1;
    // An instance may close a connection while it is idle; that is nobody's fault. An exchange
    // that breaks on a fresh one may be the request's own doing: one more instance gets it, and
    // the others are spared.
    if !reused {
        call.broken_fresh += 1;
        call.tried.push(slot.instance.backend.instance);
    }
    if call.repeatable == Repeatable::Yes && call.broken <= 3 && call.broken_fresh <= 1 {
        count(&worker.counters.retries);
        call.outgoing = Some(request);
        return Ok(None);
    }
    Err(Page::broken(&route.title))
}

/// Why a request's body did not come whole.
fn upload_page(worker: &Worker, route: &CompiledRoute, upload: Option<&Upload>) -> Page {
    match upload.and_then(Upload::refused) {
        Some(BodyRefused::TooLarge(most)) => Page::body_too_large(&route.title, most),
        Some(BodyRefused::TooSlow) => Page::body_too_slow(worker.shared.limits.body_pace.bytes_per_s),
        None => Page::bad_body(),
    }
}

/// Waits for the head of the answer. The time counts from the last part of the request's body
/// that moved, so that a large upload may take as long as it needs.
async fn first_byte(
    shared: &Shared,
    timeout: Duration,
    mut answer: Sent,
    upload: Option<&Upload>,
) -> Result<Response<AnswerStream>, NoAnswer> {
    let mut deadline = Instant::now() + timeout;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer.map_err(NoAnswer::Broken),
            () = sleep_until(deadline) => {}
        }
        let Some(upload) = upload else {
            return Err(NoAnswer::FirstByteTimeout);
        };
        let last = Instant::from_std(shared.clock.instant(upload.last_progress_ms()));
        let allowed = if upload.client_owes() {
            shared.limits.body_idle_timeout
        } else {
            timeout
        };
        if last + allowed <= Instant::now() {
            let owes = upload.client_owes();
            return Err(if owes {
                NoAnswer::BodyTimeout
            } else {
                NoAnswer::FirstByteTimeout
            });
        }
        deadline = last + allowed;
    }
}
