//! The promise that nothing costs more than its cap, tried on the real thing: counted by the
//! app, and by the kernel, from outside of Weir's books.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::load::{Load, LoadOptions, Report};
use e2e::processes::Part;
use e2e::{Repository, Weir, docker, until};
use serde_json::Value;

/// So dear that a few hundred requests, or an hour of a core, reach the cap.
const PRICES: &str = r#"currency = "EUR"

[prices]
requests = "300.00 per million"
cpu = "1.80 per core-hour"
memory = "1.00 per GiB-month"
memory-frozen = "0.10 per GiB-month"
egress = "0.01 per GB"
build-cpu = "free"
build-memory = "free"
storage = "0.0001 per GB-month"
"#;
/// Billionths of the currency.
const CAP_NANO: i128 = 500_000_000;
const REQUEST_NANO: i128 = 300_000;
const CPU_SECOND_NANO: i128 = 500_000;

/// Calls itself three times for each request, a parent among them, and waits for nobody: the
/// program that once cost 72,000 dollars in a night. It counts what it serves by appending a
/// byte to a file in its volume before it answers.
const APP: &str = r#"import http.server, os, socketserver, threading, urllib.request

base = os.environ["WEIR_PUBLIC_URL"]
log = os.open("/data/served", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
slots = threading.Semaphore(60)

def call(path):
    try:
        urllib.request.urlopen(base + path, timeout=10).read()
    except Exception:
        pass
    finally:
        slots.release()

class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path != "/healthz":
            os.write(log, b".")
        body = b"page " + self.path.encode() + b"\n"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path.startswith("/page/"):
            number = int(self.path.split("/")[2])
            for child in (3 * number + 1, 3 * number + 2, number // 3):
                if slots.acquire(blocking=False):
                    threading.Thread(target=call, args=("/page/%d" % (child % 100000),), daemon=True).start()
    def log_message(self, *arguments):
        pass

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 256

Server(("0.0.0.0", int(os.environ["PORT"])), Page).serve_forever()
"#;

async fn spender(weir: &Weir) -> Result<Repository<'_>> {
    let repository = Repository::empty(weir, "spender").await?;
    repository.write("app.py", APP)?;
    repository.write("requirements.txt", "")?;
    repository.write("Procfile", "web: python app.py\n")?;
    repository.write(
        "weir.toml",
        "[volume.data]\npath = \"/data\"\n\n[process.web.check]\npath = \"/healthz\"\n",
    )?;
    repository.commit("Calls itself").await?;
    Ok(repository)
}

/// Where the app's volume is on the machine.
async fn served_file(weir: &Weir) -> Result<PathBuf> {
    let volumes = docker::volumes(&weir.label().await?).await?;
    for volume in volumes {
        let folder = docker::docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]).await?;
        let file = Path::new(folder.trim()).join("served");
        if file.exists() {
            return Ok(file);
        }
    }
    anyhow::bail!("no volume with the app's count")
}

/// Microseconds of CPU time that a container has had, from the kernel.
fn cpu_us(container: &str) -> Option<i128> {
    let first = PathBuf::from("/sys/fs/cgroup/cpuacct/docker")
        .join(container)
        .join("cpuacct.usage");
    if let Ok(text) = std::fs::read_to_string(first) {
        return text.trim().parse::<i128>().ok().map(|nanoseconds| nanoseconds / 1000);
    }
    let second = [
        "/sys/fs/cgroup/system.slice/docker-ID.scope/cpu.stat",
        "/sys/fs/cgroup/docker/ID/cpu.stat",
    ];
    second.iter().find_map(|path| {
        let text = std::fs::read_to_string(path.replace("ID", container)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        line.trim().parse().ok()
    })
}

/// What was really used, by the app's own count and the kernel's, at the prices of the test.
fn used_nano(served: &Path, containers: &[(String, i128)]) -> Result<i128> {
    let requests = i128::from(std::fs::metadata(served)?.len());
    let cpu: i128 = containers.iter().map(|(_, used_us)| used_us).sum();
    Ok(requests * REQUEST_NANO + cpu * CPU_SECOND_NANO / 1_000_000)
}

fn nano(amount: &Value) -> Result<i128> {
    let text = amount.as_str().context("an amount is a text")?;
    let (units, fraction) = text.split_once('.').unwrap_or((text, ""));
    Ok(units.parse::<i128>()? * 1_000_000_000 + format!("{fraction:0<9}").parse::<i128>()?)
}

pub(crate) async fn an_app_that_calls_itself_never_costs_more_than_its_cap() -> Result<()> {
    let weir = Weir::start("money").await?;
    let result = cap_holds(&weir).await;
    let tail = weir.log_tail(40);
    weir.remove().await?;
    result.with_context(|| format!("--- end of the log of the money Weir\n{tail}"))
}

async fn cap_holds(weir: &Weir) -> Result<()> {
    let neighbour = Repository::live_probe(weir, "neighbour").await?;
    let spender = spender(weir).await?;
    spender.push("main").await?.ok()?;
    let prices = spender.write("prices.toml", PRICES)?;
    let prices = prices.to_string_lossy().into_owned();
    spender.cli(&["prices", "publish", &prices]).await?.ok()?;
    spender
        .cli(&["cap", "set", "neighbour", "90.00/month", "--no-pace"])
        .await?
        .ok()?;
    spender
        .cli(&["cap", "set", "spender", "0.50/month", "--no-pace"])
        .await?
        .ok()?;
    // The guard would end it long before; this test is about the cap alone.
    spender.cli(&["guard", "set", "spender", "--off"]).await?.ok()?;
    spender.serves("/alive", "page /alive").await?;
    let served = served_file(weir).await?;

    let alone = Load::start(neighbour_load(&neighbour));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let alone = none_failed(alone.finish().await)?;

    let mut beside = Load::start(neighbour_load(&neighbour));
    let mut reports = Vec::new();
    weir.get("spender.localhost", "/page/1").await?;
    let mut cpu: Vec<(String, i128)> = Vec::new();
    let (mut killed_node, mut killed_control) = (false, false);
    let begin = Instant::now();
    loop {
        for container in weir.containers("spender", "production", "web").await? {
            let Some(used) = cpu_us(&container) else { continue };
            match cpu.iter_mut().find(|(known, _)| *known == container) {
                Some((_, before)) => *before = used.max(*before),
                None => cpu.push((container, used)),
            }
        }
        let used = used_nano(&served, &cpu)?;
        ensure!(used <= CAP_NANO, "{used} of {CAP_NANO} billionths were used");
        if used > CAP_NANO * 3 / 10 && !killed_node {
            killed_node = true;
            // Requests that are open at that instant are nobody's to save; those that come while
            // the node is dead are.
            reports.push(beside.finish().await);
            let old = weir.kill(Part::Node)?;
            beside = Load::start(neighbour_load(&neighbour));
            weir.wait_for_new(Part::Node, old).await?;
            weir.get("spender.localhost", "/page/2").await?;
        }
        if used > CAP_NANO * 5 / 10 && !killed_control {
            killed_control = true;
            let old = weir.kill(Part::Control)?;
            weir.wait_for_new(Part::Control, old).await?;
        }
        let page = weir.get("spender.localhost", "/page/7").await?;
        if page.status == 402 && killed_node && killed_control {
            ensure!(page.body.contains("spending cap"), "the page says: {}", page.body);
            break;
        }
        ensure!(
            begin.elapsed() < Duration::from_secs(180),
            "after {:?} the cap is not reached: {used} of {CAP_NANO}, the page says {} {}",
            begin.elapsed(),
            page.status,
            page.body
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    reports.push(beside.finish().await);
    println!("money: alone {}", alone.summary());
    for report in reports {
        println!("money: beside a runaway {}", none_failed(report)?.summary());
    }
    frozen_and_counted(weir, &spender, &served, &mut cpu).await?;
    raised_it_serves_again(weir, &spender).await?;
    let audit = spender.cli(&["ledger", "audit", "--json"]).await?.ok()?.json()?;
    ensure!(
        audit["findings"].as_array().is_some_and(Vec::is_empty),
        "the audit found {audit:#}"
    );
    Ok(())
}

fn none_failed(report: Report) -> Result<Report> {
    ensure!(report.sent() > 10, "too little load: {}", report.summary());
    ensure!(report.failed() == 0, "{}: {:#?}", report.summary(), report.wrong);
    Ok(report)
}

fn neighbour_load(neighbour: &Repository<'_>) -> LoadOptions {
    // New connections, because they wait in the socket that `weir up` holds while the node is
    // started again.
    LoadOptions {
        kept_alive_per_s: 0,
        fresh_per_s: 20,
        slow: 0,
        websockets: 0,
        ..LoadOptions::usual(neighbour.weir.http, &neighbour.host(), "/")
    }
}

/// Nothing of it goes on, and what was used fits the cap and the books.
async fn frozen_and_counted(
    weir: &Weir,
    spender: &Repository<'_>,
    served: &Path,
    cpu: &mut [(String, i128)],
) -> Result<()> {
    until("the instance is frozen", Duration::from_secs(10), || async {
        let ids = weir.containers("spender", "production", "web").await?;
        for id in &ids {
            let state = docker::docker(&["inspect", "--format", "{{.State.Status}}", id]).await?;
            if state.trim() == "running" {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    let before = used_nano(served, cpu)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (container, used) in cpu.iter_mut() {
        *used = cpu_us(container).unwrap_or(0).max(*used);
    }
    let used = used_nano(served, cpu)?;
    ensure!(used <= CAP_NANO, "{used} of {CAP_NANO} billionths were used in the end");
    let cap = spender.cli(&["cap", "spender", "--json"]).await?.ok()?.json()?;
    let scopes = cap.as_array().context("scopes")?;
    let project = scopes
        .iter()
        .find(|scope| scope["kind"] == "project")
        .context("the project")?;
    let (settled, held) = (nano(&project["settled"])?, nano(&project["held"])?);
    println!("money: used {used} (before {before}), settled {settled}, held {held} of {CAP_NANO} billionths");
    ensure!(settled + held <= CAP_NANO, "settled {settled} and held {held}");
    ensure!(
        used <= settled + held,
        "used {used}, but the books say {settled} + {held}"
    );
    Ok(())
}

async fn raised_it_serves_again(weir: &Weir, spender: &Repository<'_>) -> Result<()> {
    spender
        .cli(&["cap", "set", "spender", "2.00/month", "--no-pace"])
        .await?
        .ok()?;
    let begin = Instant::now();
    loop {
        let page = weir.get("spender.localhost", "/alive").await?;
        if page.status == 200 {
            break;
        }
        ensure!(
            begin.elapsed() < Duration::from_secs(10),
            "after the raise: {} {}",
            page.status,
            page.body
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begin.elapsed();
    println!("money: serves again {took:?} after the raise");
    ensure!(took < Duration::from_secs(3), "it took {took:?} to serve again");
    Ok(())
}
