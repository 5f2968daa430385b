//! What memory a node takes for its hosts: writes the routes of many of them as control gives them
//! out, starts a node by that file, and reads from the kernel what the process has.
//!
//! `cargo run --release -p weir-ingress --example many_hosts -- 100000 own|one`: each host in an
//! environment of its own, or all in one.
#![expect(clippy::expect_used, reason = "it fails where it cannot measure")]
#![expect(clippy::print_stdout, reason = "it says what it measured")]

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use weir_ingress::{Node, NodeConfig};
use weir_model::route::{Backend, HostRoutes, Route, RouteState};
use weir_model::route_feed::{FORMAT, Head, Part, line_digest, line_text};
use weir_model::{EnvironmentId, InstanceId};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tells this program that it is to be the node, and by which file.
const NODE: &str = "MANY_HOSTS_NODE";

fn main() {
    if let Some(file) = std::env::var_os(NODE) {
        serve(Path::new(&file));
    }
    let mut arguments = std::env::args().skip(1);
    let hosts: u32 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let each_its_own = arguments.next().as_deref() != Some("one");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("routes.json");
    write(&file, 0, each_its_own);
    let empty = run(&file);
    write(&file, hosts, each_its_own);
    let size = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
    let full = run(&file);
    let per_host = (full.0.saturating_sub(empty.0)) * 1024 / u64::from(hosts.max(1));
    println!(
        "{hosts} hosts, {}: file {} KiB; node {} KiB, without hosts {} KiB: {per_host} bytes for each; most at once {} KiB; serving after {:?}",
        if each_its_own {
            "each of its own environment"
        } else {
            "all of one environment"
        },
        size / 1024,
        full.0,
        empty.0,
        full.1,
        full.2,
    );
}

/// A kept file as a node writes it.
fn write(path: &Path, hosts: u32, each_its_own: bool) {
    let mut parts: Vec<(EnvironmentId, Part)> = Vec::new();
    for number in 0..hosts {
        let owner = if each_its_own { number } else { 0 };
        let environment = EnvironmentId::from_parts(1, u128::from(owner) + 1);
        if parts.last().is_none_or(|(last, _)| *last != environment) {
            parts.push((environment, Part::default()));
        }
        let host = HostRoutes {
            environment,
            title: format!("shop-{owner}"),
            routes: vec![Route {
                target: "shop.web".to_owned(),
                state: RouteState::Serve,
                pool: vec![Backend {
                    instance: InstanceId::from_parts(1, 1),
                    address: ([127, 0, 0, 1], 80).into(),
                }],
                ..Route::default()
            }],
            https: weir_model::certificate::HttpsPolicy::default(),
            redirect_to: None,
            protection: None,
        };
        if let Some((_, part)) = parts.last_mut() {
            part.insert(format!("customer-{number}.example.org"), &host);
        }
    }
    let (mut text, mut digest) = (String::new(), 0_u64);
    for (environment, part) in &parts {
        let line = line_text(*environment, Some(part)).expect("a line");
        digest = digest.wrapping_add(line_digest(line.as_bytes()));
        let _ = writeln!(text, "{line}");
    }
    let head = Head {
        weir_routes: FORMAT,
        epoch: 1,
        generation: 1,
        after: None,
        lines: parts.len().try_into().unwrap_or(u64::MAX),
        digest,
        cache_purges: weir_model::cache::CachePurges::default(),
    };
    let head = serde_json::to_string(&head).expect("a head");
    std::fs::write(path, format!("{head}\n{text}")).expect("a file");
}

/// Runs a node in a process of its own. Gives what it has, and had at most, in KiB, and when it
/// served.
fn run(file: &Path) -> (u64, u64, Duration) {
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(program)
        .env(NODE, file)
        .output()
        .expect("a node");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), Duration::from_millis(next()))
}

fn serve(file: &Path) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut config = NodeConfig::new(
            ([127, 0, 0, 1], 0).into(),
            file.with_file_name("control"),
            file.to_owned(),
        );
        config.workers = 2;
        let node = Node::bind(config).expect("a node");
        let address = node.http_address();
        let begun = Instant::now();
        tokio::spawn(node.run(CancellationToken::new()));
        // It accepts once it has read its file.
        let mut client = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let request = b"GET / HTTP/1.1\r\nhost: nobody.example.org\r\n\r\n";
        client.write_all(request).await.expect("a request");
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 404");
        let started = begun.elapsed();
        // The allocator gives back what it does not need a little later.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let of = |name: &str| {
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or(0)
        };
        println!("{} {} {}", of("VmRSS:"), of("VmHWM:"), started.as_millis());
    });
    std::process::exit(0)
}
