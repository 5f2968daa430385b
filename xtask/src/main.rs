//! The repository's own chores: `cargo xtask <ci|tidy|openapi|bench deploy>`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod bench;
mod ci;
mod classes;
mod fuzz;
mod guard_cost;
mod ingress_bench;
mod milkie_way;
mod openapi;
mod tidy;
mod wake;
mod zero_loss;

use std::process::ExitCode;

const USAGE: &str = "Usage: cargo xtask <command>

  ci                everything that must pass, with the time of each phase (what ./test runs)
  tidy              the rules of the house that neither rustc nor clippy knows
  fuzz              what reads hostile bytes, under libFuzzer: 60 s a target, all unless one is named
                    (--seconds N; needs nightly and cargo-fuzz)
  openapi           write docs/reference/openapi.json anew (a test compares it)
  bench deploy      measure pushes, rollback, memory and CPU of a release build of its own Weir
                    (--apps N idle apps, 20 unless told; --no-first leaves out the first push
                    on a machine without stacks)
  bench ingress     the same work through Weir's node, nginx, HAProxy, Envoy and Caddy, in turns: 15
                    minutes on two quiet cores (--quick 4 minutes; --only SHAPE one of them)
  bench classes     light requests while heavy ones fill their class, beside alone and without
                    classes, in one run, in turns (--debug for an ordinary build; --quick for a look)
  bench zero-loss   a client that forgives nothing, while releases, instances and Weir itself are
                    changed; then the same with nginx and HAProxy, which are reloaded: half an hour
                    (--quick 5 minutes; --only weir|nginx|haproxy; --rate N requests/s, 1,000
                    unless told; --debug for an ordinary build)
  bench wake        the first byte of a frozen and of a stopped app, beside one that runs and the
                    engine's own limits (--rounds N wakes of each, 100 unless told)
  bench guard-cost  measure what paying and guarding cost the proxy, in one run, in turns
  bench milkie-way  the 72,000-dollar night again, under different policies: a table, a CSV file
                    and a chart in bench/results
  bench traces      labelled traffic through the guard: precision, recall, money before the trip";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["ci", rest @ ..] => ci::run(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["tidy"] => tidy::run(),
        ["openapi"] => openapi::run(),
        ["bench", "deploy", rest @ ..] => bench::run(rest),
        ["bench", "ingress", rest @ ..] => ingress_bench::run(rest),
        ["bench", "classes", rest @ ..] => classes::run(rest),
        ["bench", "wake", rest @ ..] => wake::run(rest),
        ["bench", "zero-loss", rest @ ..] => zero_loss::run(rest),
        ["bench", "guard-cost"] => guard_cost::run(),
        ["bench", "milkie-way"] => milkie_way::run(),
        ["bench", "traces"] => {
            println!("{}", weir_guard::traces::table(&[1, 2, 3]));
            Ok(())
        }
        [] | ["help" | "--help" | "-h", ..] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(anyhow::anyhow!("unknown command: {}\n\n{USAGE}", words.join(" "))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
