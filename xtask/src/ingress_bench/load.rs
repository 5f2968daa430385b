//! The load: `wrk` and `h2load`, and what they tell.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::process::on_core;

/// The core of the load and of the app.
pub(super) const LOAD_CORE: usize = 1;
const WRK_CONNECTIONS: &str = "64";
const H2_CONNECTIONS: &str = "8";
const H2_STREAMS: &str = "10";
const RATE_CONNECTIONS: u32 = 16;
/// Requests per second at the fixed rate.
pub(super) const RATE: u32 = 5_000;

/// Requests go round so many names, evenly spread over all hosts.
const NAMES: usize = 1_000;

/// What is asked for, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// As fast as it goes, over HTTP/1.1.
    Http1 {
        path: &'static str,
        connections: Connections,
        tls: bool,
    },
    /// As fast as it goes, over HTTP/2 with TLS.
    Http2 { path: &'static str },
    /// [`RATE`] requests per second over HTTP/1.1, for the latency.
    Rate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Connections {
    Kept,
    NewEach,
}

impl Load {
    pub(super) fn needs_tls(self) -> bool {
        matches!(self, Self::Http1 { tls: true, .. } | Self::Http2 { .. })
    }
}

/// What came of a round.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) seconds: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// The name of a host.
pub(super) fn host(number: usize) -> String {
    format!("app-{number:06}.bench.localhost")
}

/// Loads the address for so many seconds. Scripts and logs go into the folder.
pub(super) fn round(load: Load, address: SocketAddr, hosts: usize, seconds: u32, folder: &Path) -> Result<Outcome> {
    match load {
        Load::Http1 { path, connections, tls } => {
            let script = folder.join("wrk.lua");
            std::fs::write(&script, wrk_script(path, connections, hosts))?;
            // By this name, because wrk sends it in the handshake.
            let scheme = if tls { "https" } else { "http" };
            let url = format!("{scheme}://localhost:{}{path}", address.port());
            let mut wrk = Command::new("wrk");
            wrk.args([
                "-t1",
                "-c",
                WRK_CONNECTIONS,
                "--timeout",
                "10s",
                "-d",
                &format!("{seconds}s"),
                "-s",
            ]);
            read_wrk(&output(wrk.arg(&script).arg(url))?)
        }
        Load::Http2 { path } => {
            let words = ["-c", H2_CONNECTIONS, "-m", H2_STREAMS];
            h2load(
                &words,
                &format!("https://{}{path}", host(hosts / 2)),
                address,
                seconds,
                folder,
            )
        }
        Load::Rate => {
            let each = format!("--rps={}", f64::from(RATE) / f64::from(RATE_CONNECTIONS));
            let words = ["--h1", "-c", &RATE_CONNECTIONS.to_string(), &each];
            h2load(
                &words,
                &format!("http://{}/", host(hosts / 2)),
                address,
                seconds,
                folder,
            )
        }
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = on_core(LOAD_CORE, command)
        .output()
        .with_context(|| format!("run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}{text}");
    Ok(text)
}

fn wrk_script(path: &str, connections: Connections, hosts: usize) -> String {
    let close = match connections {
        Connections::Kept => "",
        Connections::NewEach => ", Connection = \"close\"",
    };
    let names = NAMES.min(hosts);
    let step = hosts / names;
    format!(
        "local all, at = {{}}, 0\n\
         init = function()\n\
           for number = 0, {names} - 1 do\n\
             local host = string.format(\"app-%06d.bench.localhost\", number * {step})\n\
             all[number + 1] = wrk.format(\"GET\", \"{path}\", {{ Host = host{close} }})\n\
           end\n\
         end\n\
         request = function() at = at % #all + 1; return all[at] end\n\
         done = function(summary, latency)\n\
           local failed = summary.errors\n\
           print(string.format('\\n{{\"requests\":%d,\"us\":%d,\"p50\":%d,\"p99\":%d,\"errors\":%d}}', summary.requests,\n\
             summary.duration, latency:percentile(50), latency:percentile(99),\n\
             failed.connect + failed.read + failed.write + failed.status + failed.timeout))\n\
         end\n"
    )
}

fn read_wrk(text: &str) -> Result<Outcome> {
    let line = text.lines().last().context("wrk says nothing")?;
    let told: Value = serde_json::from_str(line).with_context(|| format!("wrk says {text}"))?;
    let number = |key: &str| told[key].as_u64().with_context(|| format!("wrk tells no {key}"));
    let fraction = |key: &str| told[key].as_f64().with_context(|| format!("wrk tells no {key}"));
    Ok(Outcome {
        requests: number("requests")?,
        errors: number("errors")?,
        seconds: fraction("us")? / 1e6,
        p50_us: fraction("p50")?,
        p99_us: fraction("p99")?,
    })
}

fn h2load(words: &[&str], url: &str, address: SocketAddr, seconds: u32, folder: &Path) -> Result<Outcome> {
    let log = folder.join("h2load.log");
    let _ = std::fs::remove_file(&log);
    let mut command = Command::new("h2load");
    command.args(["-t1", "-D", &seconds.to_string()]).args(words);
    command
        .arg(format!("--connect-to={address}"))
        .arg("--log-file")
        .arg(&log)
        .arg(url);
    output(&mut command)?;
    read_h2load(&std::fs::read_to_string(&log)?, f64::from(seconds))
}

/// Reads lines of start, status and duration, both times in microseconds.
fn read_h2load(log: &str, seconds: f64) -> Result<Outcome> {
    let mut times = Vec::new();
    let mut errors = 0;
    for line in log.lines() {
        let mut fields = line.split('\t').skip(1);
        let status = fields.next().context("h2load logged no status")?;
        let took = fields.next().context("h2load logged no time")?;
        match status {
            "200" => times.push(took.parse::<f64>()?),
            _ => errors += 1,
        }
    }
    ensure!(!times.is_empty(), "h2load got no answer");
    let requests = u64::try_from(times.len())?;
    Ok(Outcome {
        requests,
        errors,
        seconds,
        p50_us: at(&mut times, 0.5),
        p99_us: at(&mut times, 0.99),
    })
}

/// The value below which so great a part of all lies; not a number if there is none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index of a short list"
)]
pub(super) fn at(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * part) as usize;
    let last = values.len().saturating_sub(1);
    values.get(index.min(last)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_load_generators_tell_is_read() {
        let text =
            "Running 1s test\n  12 requests\n\n{\"requests\":12,\"us\":1000000,\"p50\":7,\"p99\":9,\"errors\":1}\n";
        let outcome = read_wrk(text).unwrap();
        assert_eq!((outcome.requests, outcome.errors), (12, 1));
        assert!((outcome.seconds - 1.0).abs() < 1e-9);
        let log = "1\t200\t30\n2\t503\t9000\n3\t200\t10\n4\t200\t20\n";
        let outcome = read_h2load(log, 2.0).unwrap();
        assert_eq!((outcome.requests, outcome.errors), (3, 1));
        assert!((outcome.p50_us - 20.0).abs() < 1e-9 && (outcome.p99_us - 30.0).abs() < 1e-9);
        assert!(read_wrk("unable to connect").is_err() && read_h2load("", 1.0).is_err());
    }
}
