//! What paying and guarding cost: the same proxy with and without them, in one process, in
//! turns. Prints one line of JSON; `cargo xtask bench guard-cost` makes a table of it.
//!
//! Each node has one worker, pinned to one core; the clients and the app behind it are pinned
//! to another. Throughput is taken from the processor time that the kernel says a worker used,
//! so that it means one core whatever else runs on the machine. Latency is that of single
//! requests that go to one node and the other in turns. Clients and app never sleep
//! ([`stay_awake`] says why).
#![expect(clippy::unwrap_used, reason = "a benchmark fails where it cannot measure")]
#![expect(clippy::print_stdout, reason = "it prints its result")]

#[path = "../tests/it/fund.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod fund;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_ingress::{Guarding, Node, NodeConfig, Spending};
use weir_model::InstanceId;
use weir_model::guard::GuardRules;
use weir_model::route::{Backend, HostRoutes, MeteredInstance, Route, RouteSnapshot, RouteState};

use crate::fund::{Fund, environment};

const CONNECTIONS: usize = 32;
/// Requests that a client sends at once, so that it takes less time than the proxy, whose core
/// is the one that shall be busy.
const PIPELINED: usize = 8;
const ROUND: Duration = Duration::from_millis(500);
const PAIRS: usize = 20;
const WARM_UP: Duration = Duration::from_secs(1);
const SINGLE_REQUESTS: usize = 40_000;
/// Longest time for the single requests, on a slow machine.
const SINGLE_TIME: Duration = Duration::from_secs(20);
const REQUEST: &[u8] =
    b"GET /hello HTTP/1.1\r\nhost: shop.localhost\r\nuser-agent: guard-cost\r\naccept: */*\r\naccept-encoding: gzip\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 14\r\n\
    date: Sat, 21 Nov 2026 12:00:00 GMT\r\n\r\nHello, world!\n";

/// One of the two proxies.
#[derive(Clone, Copy)]
struct Proxy {
    address: SocketAddr,
    /// Thread of its only worker.
    worker: u32,
}

fn main() {
    let (say_app, app) = mpsc::channel();
    let (say_proxies, proxies) = mpsc::channel::<[Proxy; 2]>();
    // Clients and app share a thread; what they cost is on neither proxy's account.
    let load = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            pin(gettid(), 1);
            tokio::spawn(stay_awake());
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            say_app.send(listener.local_addr().unwrap()).unwrap();
            tokio::spawn(answer_all(listener));
            measure(proxies.recv().unwrap()).await
        })
    });
    let app = app.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let result = runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let fund = Fund::of(i64::MAX / 8);
        let stop = CancellationToken::new();
        let bare = start(folder.path(), app, None, &stop).await;
        let paying = start(folder.path(), app, Some(&fund), &stop).await;
        eventually_funded(&fund).await;
        say_proxies.send([bare, paying]).unwrap();
        let result = tokio::task::spawn_blocking(move || load.join()).await.unwrap().unwrap();
        stop.cancel();
        result
    });
    println!("{result}");
}

/// A node that serves the app by a snapshot from its file; with money and guard, or without.
async fn start(folder: &Path, app: SocketAddr, fund: Option<&Fund>, stop: &CancellationToken) -> Proxy {
    let name = if fund.is_some() { "paying" } else { "bare" };
    let snapshot_file = folder.join(name);
    std::fs::write(&snapshot_file, serde_json::to_vec(&snapshot(app)).unwrap()).unwrap();
    let mut config = NodeConfig::new(([127, 0, 0, 1], 0).into(), folder.join("nobody"), snapshot_file);
    config.workers = 1;
    config.guarding = fund.map_or(Guarding::Off, |_| Guarding::On);
    config.spending = fund.map(|fund| Spending {
        wallets: fund.wallets.clone(),
        metered: watch::channel(Vec::new()).0,
        paying: watch::channel(std::collections::BTreeSet::new()).1,
        sending: None,
        cpu: None,
    });
    let before = worker_threads();
    let node = Node::bind(config).unwrap();
    let address = node.http_address();
    tokio::spawn(node.run(stop.clone()));
    let worker = loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if let Some(worker) = worker_threads().into_iter().find(|thread| !before.contains(thread)) {
            break worker;
        }
    };
    pin(worker, 0);
    Proxy { address, worker }
}

fn snapshot(app: SocketAddr) -> RouteSnapshot {
    let instance = InstanceId::from_parts(1, 1);
    let route = Route {
        path_prefix: "/".to_owned(),
        target: "shop.web".to_owned(),
        state: RouteState::Serve,
        pool: vec![Backend { instance, address: app }],
        concurrency: 1_000,
        first_byte_timeout_ms: 10_000,
        guard: GuardRules::default(),
        ..Route::default()
    };
    let metered = MeteredInstance {
        instance,
        environment: environment(),
        app: "shop".parse().unwrap(),
        process: "web".parse().unwrap(),
        memory_bytes: 1 << 28,
        cpu_milli: 1_000,
        grace_s: 10,
        address: Some([10, 1, 2, 3].into()),
        frozen: false,
        stopping: false,
    };
    let host = HostRoutes {
        environment: environment(),
        title: "shop".to_owned(),
        routes: vec![route],
        https: weir_model::certificate::HttpsPolicy::default(),
        redirect_to: None,
        protection: None,
    };
    RouteSnapshot {
        generation: 1,
        hosts: BTreeMap::from([("shop.localhost".to_owned(), host)]),
        metered: vec![metered],
        ..RouteSnapshot::default()
    }
}

async fn eventually_funded(fund: &Fund) {
    while fund.draw_bytes(1).is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Keeps its thread from ever sleeping. A proxy that is slower by a little lets its peers sleep
/// more often, and waking a core is dearer than all that is measured here, above all in a
/// virtual machine.
async fn stay_awake() {
    loop {
        tokio::task::yield_now().await;
    }
}

/// The app: the same answer to everything.
async fn answer_all(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            // A head always comes in one piece here.
            while let Ok(1..) = stream.read(&mut buffer).await {
                if stream.write_all(ANSWER).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// A client's connection, and how long each answer on it is.
struct Client {
    stream: TcpStream,
    answer_bytes: usize,
}

impl Client {
    async fn connect(proxy: Proxy) -> Self {
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self {
            stream,
            answer_bytes: 0,
        };
        client.stream.write_all(REQUEST).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"Hello, world!\n") {
            assert!(client.stream.read_buf(&mut answer).await.unwrap() > 0, "closed");
        }
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        client.answer_bytes = answer.len();
        client
    }

    async fn request(&mut self, at_once: usize) {
        let mut buffer = [0; 1024 * PIPELINED];
        self.stream.write_all(&REQUEST.repeat(at_once)).await.unwrap();
        let expected = &mut buffer[..self.answer_bytes * at_once];
        self.stream.read_exact(expected).await.unwrap();
    }
}

/// Requests in one round: by the clock, and by the worker's processor time, per second.
#[derive(Clone, Copy)]
struct Throughput {
    by_clock: f64,
    of_one_core: f64,
}

async fn round(proxy: Proxy, time: Duration) -> Throughput {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(proxy).await);
    }
    let (begin, cpu) = (Instant::now(), cpu_ns(proxy.worker));
    let mut tasks = tokio::task::JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move {
            let mut requests = 0_u32;
            while begin.elapsed() < time {
                client.request(PIPELINED).await;
                requests += u32::try_from(PIPELINED).unwrap();
            }
            requests
        });
    }
    let requests: u32 = tasks.join_all().await.iter().sum();
    let used = Duration::from_nanos(cpu_ns(proxy.worker) - cpu);
    Throughput {
        by_clock: f64::from(requests) / begin.elapsed().as_secs_f64(),
        of_one_core: f64::from(requests) / used.as_secs_f64(),
    }
}

async fn measure([bare, paying]: [Proxy; 2]) -> serde_json::Value {
    for proxy in [bare, paying] {
        round(proxy, WARM_UP).await;
    }
    let mut pairs = Vec::new();
    for number in 0..PAIRS {
        // In turns, so that neither always comes first.
        let pair = if number % 2 == 0 {
            let first = round(bare, ROUND).await;
            (first, round(paying, ROUND).await)
        } else {
            let first = round(paying, ROUND).await;
            (round(bare, ROUND).await, first)
        };
        pairs.push(pair);
    }
    let [alone, with] = latencies([bare, paying]).await;
    let median =
        |pick: &dyn Fn(&(Throughput, Throughput)) -> f64| at(&mut pairs.iter().map(pick).collect::<Vec<_>>(), 0.5);
    let lost = |bare: f64, with: f64| (1.0 - with / bare) * 100.0;
    let at_of = |times: &[f64], part| at(&mut times.to_vec(), part);
    serde_json::json!({
        "bare_per_core": median(&|(bare, _)| bare.of_one_core),
        "with_per_core": median(&|(_, with)| with.of_one_core),
        "lost_per_core_percent": median(&|(bare, with)| lost(bare.of_one_core, with.of_one_core)),
        "bare_by_clock": median(&|(bare, _)| bare.by_clock),
        "lost_by_clock_percent": median(&|(bare, with)| lost(bare.by_clock, with.by_clock)),
        "bare_median_us": at_of(&alone, 0.5),
        "added_median_us": at_of(&with, 0.5) - at_of(&alone, 0.5),
        "bare_p99_us": at_of(&alone, 0.99),
        "added_p99_us": at_of(&with, 0.99) - at_of(&alone, 0.99),
        "pairs": pairs.len(),
        "single_requests": with.len(),
    })
}

/// Of single requests, in microseconds; one to each in turns, so that both see the same noise.
async fn latencies(proxies: [Proxy; 2]) -> [Vec<f64>; 2] {
    let mut clients = [Client::connect(proxies[0]).await, Client::connect(proxies[1]).await];
    let mut times = [Vec::new(), Vec::new()];
    let end = Instant::now() + SINGLE_TIME;
    for number in 0..SINGLE_REQUESTS {
        if Instant::now() > end {
            break;
        }
        let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let begin = Instant::now();
            clients[which].request(1).await;
            times[which].push(begin.elapsed().as_secs_f64() * 1e6);
        }
    }
    times
}

/// The value below which so great a part of all lies.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index of a short list"
)]
fn at(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * part) as usize;
    values[index.min(values.len() - 1)]
}

/// Threads of workers in this process.
fn worker_threads() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .filter(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "weir-worker-0")
        })
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}

/// Processor time that a thread has used, in nanoseconds.
fn cpu_ns(thread: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn gettid() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").unwrap();
    link.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// Ties a thread to a core; without `taskset`, or with one core only, it runs where it likes.
fn pin(thread: u32, core: usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if core < cores {
        let _ = std::process::Command::new("taskset")
            .args(["--pid", "--cpu-list", &core.to_string(), &thread.to_string()])
            .stdout(std::process::Stdio::null())
            .status();
    }
}
