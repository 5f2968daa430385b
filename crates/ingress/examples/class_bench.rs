//! How slow light requests become while heavy ones fill their class: the same node and the same app
//! alone, with heavy requests in a class of their own, and with heavy requests that have no class,
//! in turns, in one process. Prints one line of JSON; `cargo xtask bench classes` makes a table of it.
//!
//! Light requests come at a fixed pace, whatever becomes of those before; each is measured from
//! when it was due, so that what waits is not left out. Heavy ones are sent by more clients than
//! places and queue have together, each again as soon as it was answered. The app does nothing
//! but wait: what is measured is the way through the node, not a fight for the processor.
#![expect(clippy::unwrap_used, reason = "a benchmark fails where it cannot measure")]
#![expect(clippy::print_stdout, reason = "it prints its result")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use weir_ingress::{Node, NodeConfig};
use weir_model::certificate::HttpsPolicy;
use weir_model::route::{Backend, HostRoutes, Route, RouteClass, RouteSnapshot, RouteState};
use weir_model::{EnvironmentId, InstanceId};

/// Rounds of each kind; with `--quick`, for a look.
const ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 1;
const ROUND: Duration = Duration::from_secs(4);
/// Pause between two light requests.
const PACE: Duration = Duration::from_millis(4);
/// How long the app takes.
const LIGHT: Duration = Duration::from_millis(5);
const HEAVY: Duration = Duration::from_millis(250);
/// What an instance gets at once; of it, the class of the heavy ones.
const CONCURRENCY: u32 = 20;
const HEAVY_CONCURRENCY: u32 = 4;
const HEAVY_QUEUE: u32 = 50;
/// More than places and queue together.
const HEAVY_CLIENTS: usize = 60;
/// A light request that takes longer counts as long.
const LONGEST: Duration = Duration::from_secs(20);

/// What goes on beside the light requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Alone,
    WithClasses,
    WithoutClasses,
}

/// What one kind of rounds gave.
#[derive(Default)]
struct Measured {
    latencies_us: Vec<u64>,
    failed: u64,
    heavy: u64,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    println!("{}", runtime.block_on(measure()));
}

async fn measure() -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let app = start_app().await;
    let stop = CancellationToken::new();
    let classed = start_node(&folder.path().join("classed"), &snapshot(app, true), &stop).await;
    let plain = start_node(&folder.path().join("plain"), &snapshot(app, false), &stop).await;
    let kinds = [Kind::Alone, Kind::WithClasses, Kind::WithoutClasses];
    let mut measured: [Measured; 3] = Default::default();
    let quick = std::env::args().any(|word| word == "--quick");
    for _ in 0..if quick { QUICK_ROUNDS } else { ROUNDS } {
        for (kind, sum) in kinds.into_iter().zip(&mut measured) {
            let node = if kind == Kind::WithoutClasses { plain } else { classed };
            round(node, kind, sum).await;
        }
    }
    stop.cancel();
    let [alone, with, without] = measured.map(|mut measured| {
        measured.latencies_us.sort_unstable();
        measured
    });
    let ratio = |a: &Measured, b: &Measured| percentile(a, 99) / percentile(b, 99);
    serde_json::json!({
        "alone_p50_ms": percentile(&alone, 50),
        "alone_p99_ms": percentile(&alone, 99),
        "with_p50_ms": percentile(&with, 50),
        "with_p99_ms": percentile(&with, 99),
        "without_p50_ms": percentile(&without, 50),
        "without_p99_ms": percentile(&without, 99),
        "with_to_alone": ratio(&with, &alone),
        "without_to_alone": ratio(&without, &alone),
        "light_requests": alone.latencies_us.len() + with.latencies_us.len() + without.latencies_us.len(),
        "light_failed": alone.failed + with.failed,
        "light_failed_without": without.failed,
        "heavy_answered_with": with.heavy,
        "heavy_answered_without": without.heavy,
    })
}

/// Of sorted latencies, in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "microseconds of seconds")]
fn percentile(measured: &Measured, percent: usize) -> f64 {
    let sorted = &measured.latencies_us;
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |us| *us as f64 / 1_000.0)
}

async fn round(node: SocketAddr, kind: Kind, sum: &mut Measured) {
    let mut heavy = JoinSet::new();
    let answered = Arc::new(AtomicU64::new(0));
    if kind != Kind::Alone {
        for _ in 0..HEAVY_CLIENTS {
            heavy.spawn(keep_asking(node, Arc::clone(&answered)));
        }
        // Until places and queue are full.
        sleep(HEAVY * 2).await;
    }
    let (start, mut light) = (Instant::now(), JoinSet::new());
    let mut due = start;
    while due < start + ROUND {
        sleep_until(due).await;
        light.spawn(async move {
            let status = timeout(LONGEST, ask(node, "/")).await;
            (due.elapsed(), matches!(status, Ok(Ok(200))))
        });
        due += PACE;
    }
    while let Some(ended) = light.join_next().await {
        let (latency, answered) = ended.unwrap();
        sum.latencies_us.push(u64::try_from(latency.as_micros()).unwrap());
        sum.failed += u64::from(!answered);
    }
    sum.heavy += answered.load(Ordering::Relaxed);
    heavy.shutdown().await;
    // What is in flight ends before the next round.
    sleep(HEAVY * 2).await;
}

/// Asks again and again; who is refused because the queue is full comes again a little later.
async fn keep_asking(node: SocketAddr, answered: Arc<AtomicU64>) {
    loop {
        if let Ok(200) = ask(node, "/upload").await {
            answered.fetch_add(1, Ordering::Relaxed);
        } else {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// One request on a connection of its own; gives the status.
async fn ask(node: SocketAddr, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(node).await?;
    stream.set_nodelay(true)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    Ok(status.and_then(|digits| digits.parse().ok()).unwrap_or(0))
}

/// An app that takes its time and does nothing.
async fn start_app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut head, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut chunk).await? {
                0 => return Ok(()),
                length => head.extend_from_slice(&chunk[..length]),
            }
        }
        let heavy = head.starts_with(b"GET /upload");
        head.clear();
        sleep(if heavy { HEAVY } else { LIGHT }).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n")
            .await?;
    }
}

async fn start_node(file: &Path, snapshot: &RouteSnapshot, stop: &CancellationToken) -> SocketAddr {
    std::fs::write(file, serde_json::to_vec(snapshot).unwrap()).unwrap();
    let mut config = NodeConfig::new(
        ([127, 0, 0, 1], 0).into(),
        file.with_extension("nobody"),
        file.to_owned(),
    );
    config.workers = 1;
    let node = Node::bind(config).unwrap();
    let address = node.http_address();
    tokio::spawn(node.run(stop.clone()));
    while !matches!(ask(address, "/").await, Ok(200)) {
        sleep(Duration::from_millis(10)).await;
    }
    address
}

fn snapshot(app: SocketAddr, classed: bool) -> RouteSnapshot {
    let backend = Backend {
        instance: InstanceId::from_parts(1, 1),
        address: app,
    };
    let class = |name: &str, number, queue| RouteClass {
        name: name.to_owned(),
        number,
        queue,
        queue_timeout_ms: None,
    };
    let light = Route {
        target: "shop.web".to_owned(),
        state: RouteState::Serve,
        pool: vec![backend],
        concurrency: CONCURRENCY - if classed { HEAVY_CONCURRENCY } else { 0 },
        class: classed.then(|| class("default", 0, None)),
        ..Route::default()
    };
    let heavy = Route {
        path_prefix: "/upload".to_owned(),
        concurrency: HEAVY_CONCURRENCY,
        class: Some(class("heavy", 1, Some(HEAVY_QUEUE))),
        ..light.clone()
    };
    let host = HostRoutes {
        environment: EnvironmentId::from_parts(1, 1),
        title: "shop".to_owned(),
        routes: if classed { vec![heavy, light] } else { vec![light] },
        https: HttpsPolicy::default(),
        redirect_to: None,
        protection: None,
    };
    RouteSnapshot {
        generation: 1,
        hosts: BTreeMap::from([("shop.localhost".to_owned(), host)]),
        ..RouteSnapshot::default()
    }
}
