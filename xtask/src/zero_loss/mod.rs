//! `cargo xtask bench zero-loss`: a client that forgives nothing, while everything behind and in the
//! ingress is changed: deploys, rollbacks, upgrades of the ingress, instances fewer, instances that
//! die. On a Weir of its own with the real Docker; then the same client and the same number of changes
//! with nginx and with HAProxy, which are reloaded.

mod peers;
mod report;
mod weir;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::load::{Load, LoadOptions};
use e2e::tls::{Certificate, Tls};
use tokio::time::{sleep, timeout};

use self::report::Measured;
use crate::bench;
use crate::ingress_bench::tools;

/// Between two changes.
const PAUSE: Duration = Duration::from_millis(1_500);
/// Longest time for one change.
const LONGEST_CHANGE: Duration = Duration::from_secs(180);
/// A request that is answered later than this has failed; an ordinary build is only tried out.
const LATE: Duration = Duration::from_secs(5);
const LATE_IN_DEBUG: Duration = Duration::from_secs(60);
/// How long a websocket is used.
const WEBSOCKET_LIFE: Duration = Duration::from_secs(10);
/// Downloads at once, and MiB of each; the app sends one in five seconds.
const DOWNLOADS: (u32, u32) = (4, 16);
const SLOW: u32 = 4;
const WEBSOCKETS: u32 = 8;
/// How long old instances are left after a reload: longer than anything that may be going on there.
const DRAIN: Duration = Duration::from_secs(15);
/// The host that is reached by TLS.
const TLS_HOST: &str = "zero-loss.example.org";

/// What is changed while requests go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Deploy,
    Rollback,
    Upgrade,
    ScaleIn,
    /// An instance is killed.
    Kill,
}

impl Change {
    const ALL: [Self; 5] = [Self::Deploy, Self::Rollback, Self::Upgrade, Self::ScaleIn, Self::Kill];

    fn name(self) -> &'static str {
        match self {
            Self::Deploy => "deploys",
            Self::Rollback => "rollbacks",
            Self::Upgrade => "upgrades",
            Self::ScaleIn => "scale-ins",
            Self::Kill => "kills",
        }
    }

    fn times(self, quick: bool) -> u32 {
        let (all, quickly) = match self {
            Self::Deploy => (50, 5),
            Self::Kill => (10, 2),
            Self::Rollback | Self::Upgrade | Self::ScaleIn => (20, 3),
        };
        if quick { quickly } else { all }
    }
}

/// Where requests go.
struct Target {
    http: SocketAddr,
    host: String,
    tls: Tls,
}

/// What stands before the app, and the app.
trait System {
    fn name(&self) -> &'static str;
    fn target(&self) -> &Target;
    /// What has to be so before changes of this kind; no requests are going on.
    async fn prepare(&mut self, change: Change) -> Result<()>;
    /// Returns when it is done.
    async fn change(&mut self, change: Change) -> Result<()>;
}

struct Options {
    quick: bool,
    debug: bool,
    rate: u32,
    /// All if there are none.
    only: Vec<String>,
}

impl Options {
    fn read(arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            quick: false,
            debug: false,
            rate: 1_000,
            only: Vec::new(),
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => options.quick = true,
                "--debug" => options.debug = true,
                "--rate" => {
                    let rate = words.next().and_then(|number| number.parse().ok());
                    let rate = rate.filter(|rate| (20..=10_000).contains(rate));
                    options.rate = rate.context("--rate needs a number of requests per second, 20 to 10000")?;
                }
                "--only" => {
                    let name = words.next().filter(|name| ["weir", "nginx", "haproxy"].contains(name));
                    let name = name.context("--only needs one of weir, nginx, haproxy")?;
                    options.only.push((*name).to_owned());
                }
                other => bail!("unknown option {other}; there are --quick, --debug, --rate N, --only NAME"),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// Measures, prints the tables and writes `bench/results/DATE-zero-loss.json`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let options = Options::read(arguments)?;
    if cfg!(debug_assertions) && !options.debug {
        return again_in_release(arguments);
    }
    let app = build_app(options.debug)?;
    let certificate = Certificate::make(&[TLS_HOST])?;
    let began = bench::load_of_machine();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut all = Vec::new();
    let result = runtime.block_on(measure_all(&options, &app, &certificate, &mut all));
    if !all.is_empty() {
        report::print(&all);
    }
    result?;
    println!(
        "\nload of the machine: {began} at the beginning, {} at the end",
        bench::load_of_machine()
    );
    // What was measured in part, or in haste, is no record.
    if options.quick || options.debug || !options.only.is_empty() {
        return Ok(());
    }
    bench::write_document(report::document(&all, options.rate), "-zero-loss")
}

/// What was measured before something went wrong is kept.
async fn measure_all(options: &Options, app: &Path, own: &Certificate, all: &mut Vec<Measured>) -> Result<()> {
    let peers: Vec<peers::Proxy> = [peers::Proxy::Nginx, peers::Proxy::Haproxy]
        .into_iter()
        .filter(|proxy| options.wants(&proxy.name().to_lowercase()))
        .collect();
    let tools = match peers.is_empty() {
        true => None,
        false => Some(tools::bring(bench::target_folder().join("ingress-bench"))?),
    };
    if options.wants("weir") {
        all.push(weir::measure(options, app, own).await?);
    }
    for (proxy, tools) in peers.into_iter().zip(tools.iter().cycle()) {
        let mut peer = peers::Peer::start(proxy, tools, app, own).await?;
        all.push(measure(&mut peer, options).await?);
    }
    Ok(())
}

/// The client has to be quick itself.
fn again_in_release(arguments: &[&str]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--locked", "--release", "--package", "xtask", "--"]);
    cargo.args(["bench", "zero-loss"]).args(arguments);
    let status = cargo.current_dir(e2e::root()).status().context("run cargo run")?;
    ensure!(status.success(), "the measurement failed");
    Ok(())
}

/// The app, linked so that it runs in an image that holds nothing else.
fn build_app(debug: bool) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "rustc",
        "--quiet",
        "--locked",
        "--package",
        "e2e",
        "--example",
        "load_app",
    ]);
    if !debug {
        cargo.arg("--release");
    }
    cargo.args(["--", "-C", "target-feature=+crt-static"]);
    let status = cargo.current_dir(e2e::root()).status().context("run cargo rustc")?;
    ensure!(
        status.success(),
        "the app of the benchmark cannot be built; it is linked statically, for which Debian's libc6-dev is needed"
    );
    let profile = if debug { "debug" } else { "release" };
    Ok(bench::target_folder().join(profile).join("examples/load_app"))
}

/// All changes, each kind under a load of its own.
async fn measure(system: &mut impl System, options: &Options) -> Result<Measured> {
    let mut measured = Measured::new(system.name());
    for change in Change::ALL {
        let times = change.times(options.quick);
        println!("{}: {times} {} …", system.name(), change.name());
        system.prepare(change).await?;
        let load = Load::start(load(system.target(), change, options));
        sleep(PAUSE * 2).await;
        let done = make(system, change, times).await;
        let report = load.finish().await;
        println!("  {}", report.summary());
        done.with_context(|| format!("{}: {}", system.name(), change.name()))?;
        measured.add(change, times, report);
    }
    Ok(measured)
}

async fn make(system: &mut impl System, change: Change, times: u32) -> Result<()> {
    for _ in 0..times {
        let done = timeout(LONGEST_CHANGE, system.change(change)).await;
        done.with_context(|| format!("not done within {LONGEST_CHANGE:?}"))??;
        sleep(PAUSE).await;
    }
    Ok(())
}

/// So many requests a second in all, and what goes on at any time.
fn load(target: &Target, change: Change, options: &Options) -> LoadOptions {
    let share = |percent: u32| (options.rate * percent / 100).max(1);
    LoadOptions {
        kept_alive_per_s: share(40),
        fresh_per_s: share(15),
        uploads_per_s: share(5),
        tls: Some(target.tls.clone()),
        tls_per_s: [share(15), share(5), share(20)],
        slow: SLOW,
        websockets: WEBSOCKETS,
        downloads: DOWNLOADS,
        websocket_life: Some(WEBSOCKET_LIFE),
        websockets_stay: true,
        late: if options.debug { LATE_IN_DEBUG } else { LATE },
        // A rollback is meant to bring an older release back.
        mixed: change == Change::Rollback,
        limit: Duration::from_secs(3 * 3600),
        ..LoadOptions::usual(target.http, &target.host, "/")
    }
}
