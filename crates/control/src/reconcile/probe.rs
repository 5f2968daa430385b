//! Checks of instances: quickly until the first one passes, then at the pace of the app's
//! specification. Each routed instance that runs has one task; it ends with the instance.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use weir_model::spec::Check;
use weir_model::{InstanceId, UnixMillis};

use super::plan::Probe;

/// First pause between checks of an instance that is not ready; doubles up to `SLOWEST`.
const QUICKEST: Duration = Duration::from_millis(15);
const SLOWEST: Duration = Duration::from_millis(400);
/// Pause after a failed check of an instance that was ready: a dead one is found within
/// seconds, whatever its regular interval.
const SUSPICIOUS: Duration = Duration::from_secs(1);

/// What the checks of one environment's instances say.
#[derive(Debug, Default)]
pub(super) struct Probes {
    running: HashMap<InstanceId, Running>,
    /// Not checked while they sleep. They were ready, and are when they wake.
    resting: HashSet<InstanceId>,
}

/// The checks of one instance.
#[derive(Debug)]
struct Running {
    address: SocketAddr,
    since_ms: UnixMillis,
    state: Arc<Mutex<Probe>>,
    task: AbortHandle,
}

impl Probes {
    /// The state of an instance's checks.
    pub(super) fn state(&self, instance: InstanceId) -> Probe {
        let unknown = if self.resting.contains(&instance) {
            Probe::Ready
        } else {
            Probe::Waiting(None)
        };
        self.running.get(&instance).map_or(unknown, |running| {
            running
                .state
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .clone()
        })
    }

    /// Since when an instance is being checked.
    pub(super) fn since_ms(&self, instance: InstanceId) -> Option<UnixMillis> {
        self.running.get(&instance).map(|running| running.since_ms)
    }

    /// Begins to check an instance, unless it is being checked at this address already. `changed`
    /// is called after every change of its state.
    pub(super) fn watch(
        &mut self,
        instance: InstanceId,
        address: SocketAddr,
        host: &str,
        check: &Check,
        now_ms: UnixMillis,
        changed: impl Fn() + Send + 'static,
    ) {
        if self
            .running
            .get(&instance)
            .is_some_and(|running| running.address == address)
        {
            return;
        }
        let first = if self.resting.remove(&instance) {
            Probe::Ready
        } else {
            Probe::Waiting(None)
        };
        let state = Arc::new(Mutex::new(first));
        let task = tokio::spawn(watch(
            address,
            host.to_owned(),
            check.clone(),
            Arc::clone(&state),
            changed,
        ));
        let running = Running {
            address,
            since_ms: now_ms,
            state,
            task: task.abort_handle(),
        };
        if let Some(old) = self.running.insert(instance, running) {
            old.task.abort();
        }
    }

    /// An instance sleeps: it is not checked, and counts as ready.
    pub(super) fn rest(&mut self, instance: InstanceId) {
        if let Some(running) = self.running.remove(&instance) {
            running.task.abort();
        }
        self.resting.insert(instance);
    }

    /// Forgets those that slept and are gone, or are to be checked like new ones.
    pub(super) fn retain_resting(&mut self, keep: impl Fn(InstanceId) -> bool) {
        self.resting.retain(|instance| keep(*instance));
    }

    /// Ends the checks of all instances but these. An instance that comes back (thawed) is
    /// checked anew.
    pub(super) fn retain(&mut self, keep: impl Fn(InstanceId) -> bool) {
        self.running.retain(|instance, running| {
            let keep = keep(*instance);
            if !keep {
                running.task.abort();
            }
            keep
        });
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.retain(|_| false);
    }
}

async fn watch(address: SocketAddr, host: String, check: Check, state: Arc<Mutex<Probe>>, changed: impl Fn() + Send) {
    let mut failures = 0;
    let mut pause = QUICKEST;
    loop {
        let outcome = ask(address, &host, &check).await;
        let before = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let next = match (&before, outcome) {
            (_, Ok(())) => {
                failures = 0;
                Probe::Ready
            }
            (Probe::Waiting(_), Err(why)) => Probe::Waiting(Some(why)),
            (_, Err(why)) => {
                failures += 1;
                if failures >= check.failures {
                    Probe::Unhealthy(why)
                } else {
                    before.clone()
                }
            }
        };
        let wait = match &next {
            Probe::Waiting(_) => {
                pause = (pause * 2).min(SLOWEST);
                pause
            }
            Probe::Ready if failures == 0 => Duration::from_secs(u64::from(check.interval_s.max(1))),
            _ => SUSPICIOUS,
        };
        if next != before {
            *state.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = next;
            changed();
        }
        tokio::time::sleep(wait).await;
    }
}

/// One check. Fails with words for people.
async fn ask(address: SocketAddr, host: &str, check: &Check) -> Result<(), String> {
    let limit = Duration::from_secs(u64::from(check.timeout_s.max(1)));
    match tokio::time::timeout(limit, exchange(address, host, check)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

async fn exchange(address: SocketAddr, host: &str, check: &Check) -> Result<(), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        let port = address.port();
        match error.kind() {
            std::io::ErrorKind::ConnectionRefused => {
                format!("nothing listens on port {port} (it is in the variable PORT; listen on 0.0.0.0)")
            }
            _ => format!("port {port} cannot be reached: {error}"),
        }
    })?;
    if check.tcp {
        return Ok(());
    }
    let path = check.path.as_deref().unwrap_or("/");
    let broken = |error: hyper::Error| format!("GET {path} got no HTTP answer: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let request = http::Request::builder()
        .uri(path)
        .header("host", host)
        .header("user-agent", "weir-check")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the check's path `{path}` is not valid: {error}"))?;
    let response = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        // The answer is read a little, so that an app does not see a reset for a small page.
        let mut body = response.into_body();
        let mut left = 64 * 1024_usize;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
        Ok::<u16, String>(status)
    };
    let status = tokio::select! {
        biased;
        status = response => status?,
        Err(error) = connection => return Err(broken(error)),
    };
    let passed = if check.path.is_some() {
        (200..400).contains(&status)
    } else {
        status < 500
    };
    if passed {
        Ok(())
    } else {
        Err(format!("GET {path} answered {status}"))
    }
}
