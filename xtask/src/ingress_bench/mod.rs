//! `cargo xtask bench ingress`: the same work through Weir's node and through other proxies, beside
//! each other in one run. The proxy that is measured has one core, load and app have the other;
//! the proxies take turns round by round. What counts is the processor time that a proxy takes for
//! a request, because it depends least on what else the machine does.
//!
//! Weir's node is the real one, with money and guard (`crates/ingress/examples/node_alone.rs`).

mod load;
mod peers;
pub(crate) mod process;
mod report;
pub(crate) mod tools;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use self::load::{Connections, Load, Outcome};
use self::peers::{Proxy, Running, Setting};
use self::process::Machine;
use self::tools::Tools;
use crate::bench;

const FEW: usize = 10;
const MANY: usize = 100_000;
/// Fewer than the 1,024 files that a process may usually open.
const IDLE_CONNECTIONS: u32 = 900;

/// One kind of work.
struct Shape {
    key: &'static str,
    name: &'static str,
    hosts: usize,
    load: Load,
    /// Of the processor time of these, Weir shall take at most so great a part.
    targets: &'static [(Proxy, f64)],
}

const fn http1(path: &'static str, connections: Connections, tls: bool) -> Load {
    Load::Http1 { path, connections, tls }
}

const SHAPES: [Shape; 10] = [
    Shape {
        key: "small",
        name: "small body, connections kept",
        hosts: FEW,
        load: http1("/", Connections::Kept, false),
        targets: &[
            (Proxy::Nginx, 1.05),
            (Proxy::Haproxy, 1.0),
            (Proxy::Envoy, 0.45),
            (Proxy::Caddy, 0.3),
        ],
    },
    Shape {
        key: "64k",
        name: "64 KiB, connections kept",
        hosts: FEW,
        load: http1("/64k", Connections::Kept, false),
        targets: &[(Proxy::Haproxy, 0.85)],
    },
    Shape {
        key: "new",
        name: "small body, a new connection each",
        hosts: FEW,
        load: http1("/", Connections::NewEach, false),
        targets: &[(Proxy::Nginx, 1.2)],
    },
    Shape {
        key: "rate",
        name: "small body, 5,000 requests/s",
        hosts: FEW,
        load: Load::Rate,
        targets: &[],
    },
    Shape {
        key: "tls",
        name: "TLS, small body, connections kept",
        hosts: FEW,
        load: http1("/", Connections::Kept, true),
        targets: &[(Proxy::Nginx, 0.95)],
    },
    Shape {
        key: "tls-64k",
        name: "TLS, 64 KiB, connections kept",
        hosts: FEW,
        load: http1("/64k", Connections::Kept, true),
        targets: &[],
    },
    Shape {
        key: "tls-new",
        name: "TLS, small body, a full handshake each",
        hosts: FEW,
        load: http1("/", Connections::NewEach, true),
        targets: &[(Proxy::Nginx, 0.85)],
    },
    Shape {
        key: "h2",
        name: "HTTP/2 over TLS, small body",
        hosts: FEW,
        load: Load::Http2 { path: "/" },
        targets: &[(Proxy::Haproxy, 1.0)],
    },
    Shape {
        key: "h2-64k",
        name: "HTTP/2 over TLS, 64 KiB",
        hosts: FEW,
        load: Load::Http2 { path: "/64k" },
        targets: &[],
    },
    Shape {
        key: "hosts",
        name: "small body, connections kept, 100,000 hosts",
        hosts: MANY,
        load: http1("/", Connections::Kept, false),
        targets: &[(Proxy::Nginx, 1.05), (Proxy::Haproxy, 1.0)],
    },
];

struct Options {
    rounds: usize,
    seconds: u32,
    /// Keys of shapes; all if there are none.
    only: Vec<String>,
}

impl Options {
    fn read(arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            rounds: 7,
            seconds: 2,
            only: Vec::new(),
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => (options.rounds, options.seconds) = (2, 1),
                "--only" => {
                    let keys = SHAPES.map(|shape| shape.key);
                    let key = words.next().filter(|key| keys.contains(key));
                    let key = key.with_context(|| format!("--only needs one of {}", keys.join(" ")))?;
                    options.only.push((*key).to_owned());
                }
                other => anyhow::bail!("unknown option {other}"),
            }
        }
        Ok(options)
    }

    fn wants(&self, shape: &Shape) -> bool {
        self.only.is_empty() || self.only.iter().any(|key| key == shape.key)
    }
}

/// One round of one proxy.
struct Sample {
    outcome: Outcome,
    proxy_cpu: Duration,
    app_cpu: Duration,
    /// Cores that others used meanwhile.
    foreign_cores: f64,
}

/// Memory of one proxy, in KiB.
#[derive(Default)]
struct Memory {
    few_hosts: Option<u64>,
    many_hosts: Option<u64>,
    idle_connection: Option<f64>,
}

/// All that was measured.
#[derive(Default)]
struct Results {
    samples: BTreeMap<(&'static str, Proxy), Vec<Sample>>,
    memory: BTreeMap<Proxy, Memory>,
}

/// Measures, prints the table and writes `bench/results/DATE-ingress.json`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let options = Options::read(arguments)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ensure!(cores >= 2, "this needs two cores: one for the proxy, one for the load");
    let target = bench::target_folder();
    let examples = build_examples(&target)?;
    let tools = tools::bring(target.join("ingress-bench"))?;
    tools::certificate(&tools.folder)?;
    let app = peers::start_app(&tools, &examples)?;
    let mut results = Results::default();
    for hosts in [FEW, MANY] {
        if SHAPES.iter().any(|shape| shape.hosts == hosts && options.wants(shape)) {
            let setting = Setting {
                tools: &tools,
                examples: &examples,
                app: app.http,
                hosts,
                tls: hosts == FEW,
            };
            measure(&options, &setting, &app, &mut results)?;
        }
    }
    report::print(&results);
    // What was measured in part, or in haste, is no record.
    if options.only.is_empty() {
        let suffix = if options.rounds > 2 {
            "-ingress"
        } else {
            "-ingress-quick"
        };
        bench::write_document(report::document(&results, &versions(&tools)), suffix)?;
    }
    Ok(())
}

fn build_examples(target: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--package", "weir-ingress"]);
    cargo.args(["--example", "node_alone", "--example", "static_app"]);
    let status = cargo.current_dir(e2e::root()).status().context("run cargo build")?;
    ensure!(status.success(), "the release build failed");
    Ok(target.join("release/examples"))
}

/// Starts all proxies and measures them in turns.
fn measure(options: &Options, setting: &Setting<'_>, app: &Running, results: &mut Results) -> Result<()> {
    let mut running = Vec::new();
    for proxy in Proxy::ALL {
        let Some(started) = peers::start(proxy, setting)? else {
            continue;
        };
        let memory = results.memory.entry(proxy).or_default();
        let kib = Some(started.process.memory_kib());
        if setting.hosts == FEW {
            memory.few_hosts = kib;
            let host = load::host(0);
            memory.idle_connection = Some(started.idle_connection_kib(&host, IDLE_CONNECTIONS)?);
        } else {
            memory.many_hosts = kib;
        }
        running.push(started);
    }
    for shape in SHAPES {
        if shape.hosts != setting.hosts || !options.wants(&shape) {
            continue;
        }
        let mut turns: Vec<&Running> = running.iter().collect();
        if shape.load == Load::Rate {
            turns.push(app);
        }
        turns.retain(|running| running.https.is_some() || !shape.load.needs_tls());
        if !turns.iter().any(|running| running.proxy == Proxy::Weir) {
            println!("left out, because the node speaks no TLS: {}", shape.name);
            continue;
        }
        println!("measuring: {} …", shape.name);
        for number in 0..options.rounds {
            // Each time another one begins.
            for turn in 0..turns.len() {
                let running = turns[(turn + number) % turns.len()];
                let sample = sample(&shape, setting, running, app, options.seconds)
                    .with_context(|| format!("{}, {}", running.proxy.name(), shape.name))?;
                results
                    .samples
                    .entry((shape.key, running.proxy))
                    .or_default()
                    .push(sample);
            }
        }
    }
    Ok(())
}

fn sample(shape: &Shape, setting: &Setting<'_>, running: &Running, app: &Running, seconds: u32) -> Result<Sample> {
    let address = match shape.load.needs_tls() {
        true => running.https.context("it speaks no TLS")?,
        false => running.http,
    };
    let (machine, begin) = (Machine::now()?, Instant::now());
    let (proxy_before, app_before) = (running.process.cpu(), app.process.cpu());
    let outcome = load::round(shape.load, address, setting.hosts, seconds, &setting.tools.folder)?;
    let app_cpu = app.process.cpu() - app_before;
    let mut proxy_cpu = running.process.cpu() - proxy_before;
    if running.proxy == Proxy::None {
        proxy_cpu = Duration::ZERO;
    }
    let foreign = Machine::now()?.foreign_since(machine, proxy_cpu + app_cpu);
    Ok(Sample {
        outcome,
        proxy_cpu,
        app_cpu,
        foreign_cores: foreign.as_secs_f64() / begin.elapsed().as_secs_f64(),
    })
}

/// The first line of what each other program says of itself.
fn versions(tools: &Tools) -> BTreeMap<&'static str, String> {
    let mut asked: Vec<(&'static str, &Path, &str)> = vec![
        ("nginx", &tools.nginx, "-v"),
        ("haproxy", &tools.haproxy, "-v"),
        ("caddy", &tools.caddy, "version"),
    ];
    if let Some(envoy) = &tools.envoy {
        asked.push(("envoy", envoy, "--version"));
    }
    let mut versions = BTreeMap::new();
    for (name, program, word) in asked {
        if let Ok(output) = Command::new(program).arg(word).output() {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            versions.insert(name, text.lines().next().unwrap_or_default().to_owned());
        }
    }
    versions
}
