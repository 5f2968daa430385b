//! What came of it: which rounds count, the table, and the document.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::peers::Proxy;
use super::{MANY, Memory, Results, SHAPES, Sample, Shape};

/// Rounds in which the app took more than so many times its best are thrown away.
const SLOWER: f64 = 1.08;
/// Rounds in which others used more than so much of a core, too.
const FOREIGN_CORES: f64 = 0.25;
/// Of fewer rounds nothing is said without a warning.
const ENOUGH: usize = 2;
/// KiB of memory for an idle connection, and for a hundred thousand hosts.
const IDLE_CONNECTION_KIB: f64 = 20.0;
const MANY_HOSTS_KIB: f64 = 60.0 * 1024.0;

/// One proxy at one kind of work: medians of the rounds that count.
struct Row {
    proxy: Proxy,
    /// Microseconds for a request, which is seconds for a million.
    cpu_us: f64,
    cpu_us_least: f64,
    cpu_us_most: f64,
    by_clock: f64,
    p50_us: f64,
    p99_us: f64,
    errors: u64,
    counted: usize,
    rounds: usize,
    /// So few rounds were undisturbed that all were counted.
    disturbed: bool,
}

/// A goal, and what was measured; NaN where the one to compare with is not here.
struct Goal {
    name: String,
    measured: f64,
    target: f64,
}

impl Goal {
    fn met(&self) -> bool {
        self.measured <= self.target
    }

    fn verdict(&self) -> &'static str {
        match self.measured.is_nan() {
            true => "not measured",
            false if self.met() => "met",
            false => "MISSED",
        }
    }
}

impl Sample {
    fn cpu_us(&self) -> f64 {
        self.proxy_cpu.as_secs_f64() * 1e6 / self.outcome.requests as f64
    }

    fn app_us(&self) -> f64 {
        self.app_cpu.as_secs_f64() * 1e6 / self.outcome.requests as f64
    }
}

/// The rounds in which neither the app was slower nor others were at work; all, and true, if
/// there are too few of them.
fn undisturbed(samples: &[Sample]) -> (Vec<&Sample>, bool) {
    let best = samples.iter().map(Sample::app_us).fold(f64::INFINITY, f64::min);
    let sound = |sample: &&Sample| sample.app_us() <= best * SLOWER && sample.foreign_cores <= FOREIGN_CORES;
    let counted: Vec<&Sample> = samples.iter().filter(sound).collect();
    if counted.len() < ENOUGH {
        return (samples.iter().collect(), true);
    }
    (counted, false)
}

/// The middle; between the two in the middle if there are two.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let (lower, upper) = (values.get(values.len().saturating_sub(1) / 2), values.get(middle));
    lower
        .zip(upper)
        .map_or(f64::NAN, |(lower, upper)| (lower + upper) / 2.0)
}

fn row(proxy: Proxy, samples: &[Sample]) -> Row {
    let (counted, disturbed) = undisturbed(samples);
    let all = |pick: &dyn Fn(&Sample) -> f64| counted.iter().map(|sample| pick(sample)).collect::<Vec<_>>();
    let median = |pick: &dyn Fn(&Sample) -> f64| median(&mut all(pick));
    Row {
        proxy,
        cpu_us: median(&Sample::cpu_us),
        cpu_us_least: all(&Sample::cpu_us).into_iter().fold(f64::INFINITY, f64::min),
        cpu_us_most: all(&Sample::cpu_us).into_iter().fold(0.0, f64::max),
        by_clock: median(&|sample| sample.outcome.requests as f64 / sample.outcome.seconds),
        p50_us: median(&|sample| sample.outcome.p50_us),
        p99_us: median(&|sample| sample.outcome.p99_us),
        errors: samples.iter().map(|sample| sample.outcome.errors).sum(),
        counted: counted.len(),
        rounds: samples.len(),
        disturbed,
    }
}

fn rows(results: &Results, shape: &Shape) -> Vec<Row> {
    let of_shape = results.samples.iter().filter(|((key, _), _)| *key == shape.key);
    of_shape.map(|((_, proxy), samples)| row(*proxy, samples)).collect()
}

fn find(rows: &[Row], proxy: Proxy) -> Option<&Row> {
    rows.iter().find(|row| row.proxy == proxy)
}

fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for shape in SHAPES {
        let rows = rows(results, &shape);
        let Some(weir) = find(&rows, Proxy::Weir) else { continue };
        for (proxy, target) in shape.targets {
            let other = find(&rows, *proxy).map_or(f64::NAN, |other| other.cpu_us);
            goals.push(Goal {
                name: format!("{}: CPU, of {}'s", shape.name, proxy.name()),
                measured: weir.cpu_us / other,
                target: *target,
            });
        }
        if let (Some(bare), Some(nginx)) = (find(&rows, Proxy::None), find(&rows, Proxy::Nginx)) {
            goals.push(Goal {
                name: format!("{}: latency added at the median, us, below nginx's", shape.name),
                measured: weir.p50_us - bare.p50_us,
                target: nginx.p50_us - bare.p50_us,
            });
        }
    }
    let memory = results.memory.get(&Proxy::Weir);
    if let Some(measured) = memory.and_then(|memory| memory.idle_connection) {
        goals.push(Goal {
            name: "memory of an idle connection, KiB".to_owned(),
            measured,
            target: IDLE_CONNECTION_KIB,
        });
    }
    if let Some(measured) = memory.and_then(hosts_kib) {
        goals.push(Goal {
            name: format!("memory for {MANY} hosts, KiB"),
            measured,
            target: MANY_HOSTS_KIB,
        });
    }
    goals
}

/// What the many hosts take, beyond the few.
fn hosts_kib(memory: &Memory) -> Option<f64> {
    Some(memory.many_hosts?.saturating_sub(memory.few_hosts?) as f64)
}

pub(super) fn print(results: &Results) {
    for shape in SHAPES {
        let rows = rows(results, &shape);
        let Some(weir) = find(&rows, Proxy::Weir) else { continue };
        println!(
            "\n{:<44} {:>8} {:>13} {:>9} {:>9} {:>8} {:>8} {:>7} {:>7}",
            shape.name, "CPU us", "least–most", "Weir is", "of a core", "by clock", "p50 us", "p99 us", "rounds"
        );
        for row in &rows {
            let told = match row.proxy {
                Proxy::None | Proxy::Weir => String::new(),
                _ => format!("{:.2} x", weir.cpu_us / row.cpu_us),
            };
            let of_a_core = match row.proxy {
                Proxy::None => String::new(),
                _ => format!("{:.0}", 1e6 / row.cpu_us),
            };
            let note = [(row.disturbed, " disturbed"), (row.errors > 0, " ERRORS")];
            let note: String = note.iter().filter(|(is, _)| *is).map(|(_, text)| *text).collect();
            println!(
                "  {:<42} {:>8.2} {:>6.1}–{:<6.1} {:>9} {:>9} {:>8.0} {:>8.0} {:>7.0} {:>4}/{}{note}",
                row.proxy.name(),
                row.cpu_us,
                row.cpu_us_least,
                row.cpu_us_most,
                told,
                of_a_core,
                row.by_clock,
                row.p50_us,
                row.p99_us,
                row.counted,
                row.rounds
            );
        }
    }
    println!(
        "\n{:<44} {:>12} {:>14} {:>22}",
        "memory", "10 hosts", "100,000 hosts", "an idle connection"
    );
    let mib = |kib: Option<u64>| kib.map_or("–".to_owned(), |kib| format!("{:.1} MiB", kib as f64 / 1024.0));
    for (proxy, memory) in &results.memory {
        let idle = memory
            .idle_connection
            .map_or("–".to_owned(), |kib| format!("{kib:.1} KiB"));
        let (few, many) = (mib(memory.few_hosts), mib(memory.many_hosts));
        println!("  {:<42} {few:>12} {many:>14} {idle:>22}", proxy.name());
    }
    println!("\n{:<78} {:>9} {:>9}", "", "measured", "at most");
    for goal in goals(results) {
        println!(
            "{:<78} {:>9.2} {:>9.2}  {}",
            goal.name,
            goal.measured,
            goal.target,
            goal.verdict()
        );
    }
    println!("load of the machine: {}", crate::bench::load_of_machine());
}

/// For the file of results.
pub(super) fn document(results: &Results, versions: &BTreeMap<&'static str, String>) -> Value {
    let shapes: Vec<Value> = SHAPES
        .iter()
        .map(|shape| {
            let rows: Vec<Value> = rows(results, shape).iter().map(Row::document).collect();
            json!({ "shape": shape.key, "name": shape.name, "hosts": shape.hosts, "rows": rows })
        })
        .collect();
    let memory: Vec<Value> = results
        .memory
        .iter()
        .map(|(proxy, memory)| {
            json!({
                "proxy": proxy.name(),
                "few_hosts_kib": memory.few_hosts,
                "many_hosts_kib": memory.many_hosts,
                "idle_connection_kib": memory.idle_connection,
            })
        })
        .collect();
    let goals: Vec<Value> = goals(results)
        .iter()
        .map(|goal| json!({ "name": goal.name, "value": goal.measured, "target": goal.target, "verdict": goal.verdict() }))
        .collect();
    json!({ "versions": versions, "shapes": shapes, "memory": memory, "goals": goals })
}

impl Row {
    fn document(&self) -> Value {
        json!({
            "proxy": self.proxy.name(),
            "cpu_s_per_million": self.cpu_us,
            "cpu_s_per_million_least": self.cpu_us_least,
            "cpu_s_per_million_most": self.cpu_us_most,
            "requests_per_s_of_one_core": (self.proxy != Proxy::None).then_some(1e6 / self.cpu_us),
            "requests_per_s_by_clock": self.by_clock,
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "errors": self.errors,
            "rounds_counted": self.counted,
            "rounds": self.rounds,
            "disturbed": self.disturbed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::load::Outcome;
    use super::*;

    fn sample(app_us: u64, foreign_cores: f64) -> Sample {
        Sample {
            outcome: Outcome {
                requests: 1_000,
                errors: 0,
                seconds: 1.0,
                p50_us: 1.0,
                p99_us: 2.0,
            },
            proxy_cpu: Duration::from_micros(app_us * 3_000),
            app_cpu: Duration::from_micros(app_us * 1_000),
            foreign_cores,
        }
    }

    #[test]
    fn rounds_in_which_the_machine_was_slower_or_busy_do_not_count() {
        let samples = [sample(10, 0.0), sample(10, 0.1), sample(13, 0.0), sample(10, 0.5)];
        let row = row(Proxy::Weir, &samples);
        assert_eq!((row.counted, row.rounds, row.disturbed), (2, 4, false));
        assert!((row.cpu_us - 30.0).abs() < 1e-9 && (row.cpu_us_most - 30.0).abs() < 1e-9);
    }

    #[test]
    fn too_few_undisturbed_rounds_are_told() {
        let samples = [sample(10, 0.0), sample(13, 0.0), sample(10, 0.5)];
        let row = row(Proxy::Weir, &samples);
        assert_eq!((row.counted, row.disturbed), (3, true));
        assert!((median(&mut [4.0, 1.0]) - 2.5).abs() < 1e-9 && (median(&mut [4.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    }
}
