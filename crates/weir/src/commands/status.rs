use std::fmt::Write as _;

use weir_api::{ClassStatus, EnvironmentMoney, EnvironmentStatus, Instance, ProcessStatus, RefusedRequests};

use super::cap::{cap_text, kept_text};
use super::guard::background_line;
use super::{maintenance, scale};
use crate::amounts::shown;
use crate::context::PlaceChoice;
use crate::failure::Result;
use crate::output::{Cell, Look, Ui, ago, log_text, size};
use crate::session::Session;

/// Show what runs in an environment, as it really is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir status\n  weir status --env staging\n  weir status --json | jq -r .health")]
pub(crate) struct Args {
    #[command(flatten)]
    place: PlaceChoice,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    let status: EnvironmentStatus = session.client()?.get(&place.path("")).await?;
    session.ui.result(&status, || show(&session.ui, &status))
}

fn show(ui: &Ui, status: &EnvironmentStatus) -> Result<()> {
    let environment = &status.environment;
    let release = environment
        .release
        .map_or_else(|| "no release yet".to_owned(), |number| format!("release {number}"));
    ui.data(&format!(
        "{} {}  {}  {release}  {}",
        ui.out(Look::Bold, &status.project),
        environment.name,
        ui.out(Look::of_state(&status.health), &status.health),
        ui.out(Look::Link, &environment.url),
    ))?;
    if let Some(branch) = &environment.branch {
        ui.data(&ui.out(Look::Faint, &format!("follows the branch {branch}")))?;
    }
    if let Some(detail) = &status.detail {
        ui.data(&ui.out(Look::Warning, &log_text(detail, false)))?;
    }
    if let Some(closed) = &status.maintenance {
        maintenance::tell(ui, closed)?;
    }
    tell_refused(ui, &status.refused)?;
    if let Some(money) = &status.money {
        tell_money(ui, money)?;
    }
    if let Some(canary) = status
        .deployment
        .as_ref()
        .filter(|deployment| deployment.state == "canary")
    {
        ui.data(&format!("release {} is a canary: weir canary", canary.release))?;
    } else if let Some(deployment) = &status.deployment {
        let words = format!(
            "{} of release {} is {}; watch it: weir task watch {}",
            deployment.kind, deployment.release, deployment.state, deployment.task
        );
        ui.data(&words)?;
    }
    if status.processes.is_empty() {
        return Ok(());
    }
    ui.data("")?;
    let several_apps = status
        .processes
        .iter()
        .any(|process| process.app != status.processes[0].app);
    let rows: Vec<Vec<Cell>> = status
        .processes
        .iter()
        .flat_map(|process| rows_of(process, several_apps))
        .collect();
    ui.table(
        &["PROCESS", "READY", "INSTANCE", "STATE", "RELEASE", "STARTED", "LIMITS"],
        &rows,
        "",
    )?;
    for instance in status
        .processes
        .iter()
        .flat_map(|process| &process.instances)
        .filter(|instance| is_in_trouble(instance))
    {
        troubles(ui, instance)?;
    }
    status
        .processes
        .iter()
        .flat_map(|process| &process.instances)
        .filter_map(|instance| instance.background.as_ref())
        .try_for_each(|work| ui.data(&background_line(ui, work)))?;
    tell_ways(ui, &status.processes)?;
    let own: Vec<&str> = status
        .domains
        .iter()
        .filter(|domain| domain.url != environment.url)
        .map(|domain| domain.url.as_str())
        .collect();
    if !own.is_empty() {
        ui.data(&format!("\nalso at {}", own.join(", ")))?;
    }
    Ok(())
}

/// What leads to the processes, beside their routes.
fn tell_ways(ui: &Ui, processes: &[ProcessStatus]) -> Result<()> {
    tell_classes(ui, processes)?;
    tell_tcp(ui, processes)
}

/// Where the TCP services are reached.
fn tell_tcp(ui: &Ui, processes: &[ProcessStatus]) -> Result<()> {
    let services = processes.iter().flat_map(|process| &process.tcp);
    for (number, service) in services.enumerate() {
        let by_name = service.hosts.iter().map(|host| format!("{host} (TLS)"));
        let places: Vec<String> = service.address.iter().cloned().chain(by_name).collect();
        let places = match places.as_slice() {
            [] => format!(
                "nowhere yet; give it a name: weir domain add HOST --tcp {}",
                service.name
            ),
            places => places.join(", "),
        };
        let gap = if number == 0 { "\n" } else { "" };
        ui.data(&format!("{gap}tcp {}: {places}", ui.out(Look::Bold, &service.name)))?;
    }
    Ok(())
}

/// Spent, cap and what is left of it; why nothing more is spent, if so.
/// What was not let through, if anything.
fn tell_refused(ui: &Ui, refused: &RefusedRequests) -> Result<()> {
    let reasons = [
        (refused.rate, "by a rate"),
        (refused.body, "too large"),
        (refused.address, "by address"),
        (refused.password, "without a password"),
        (refused.maintenance, "closed"),
    ];
    let told: Vec<String> = reasons
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, reason)| format!("{number} {reason}"))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    let words = format!("requests not let through since the node started: {}", told.join(", "));
    ui.data(&ui.out(Look::Faint, &words))
}

fn tell_money(ui: &Ui, money: &EnvironmentMoney) -> Result<()> {
    let mut words = format!("spent {} {} in this period", shown(&money.spent), money.currency);
    if let (Some(left), Some(cap)) = (&money.left, &money.cap) {
        let _ = write!(
            words,
            "; {} left of {} (cap of {})",
            shown(left),
            cap_text(cap),
            money.scope
        );
    }
    ui.data(&words)?;
    let Some(stopped) = &money.stopped else { return Ok(()) };
    let words = format!("stopped: {}{}; {}", stopped.message, kept_text(stopped), stopped.hint);
    ui.data(&ui.out(Look::Bad, &words))
}

/// Of processes whose requests have classes: what goes on in each.
fn tell_classes(ui: &Ui, processes: &[ProcessStatus]) -> Result<()> {
    let row = |process: &ProcessStatus, class: &ClassStatus| -> Vec<Cell> {
        let refused = class.refused_full + class.refused_late;
        let look = |count: u64| match count {
            0 => "0".into(),
            count => Cell::looking(Look::Warning, count.to_string()),
        };
        vec![
            Cell::looking(Look::Bold, class.class.as_str()),
            format!("{}.{}", process.app, process.process).into(),
            class.concurrency.to_string().into(),
            class.in_flight.to_string().into(),
            look(class.waiting),
            look(refused),
        ]
    };
    let with_classes = processes
        .iter()
        .flat_map(|process| process.classes.iter().map(move |class| row(process, class)));
    let rows: Vec<Vec<Cell>> = with_classes.collect();
    if rows.is_empty() {
        return Ok(());
    }
    ui.data("")?;
    ui.table(
        &["CLASS", "PROCESS", "PER INSTANCE", "IN FLIGHT", "WAITING", "REFUSED"],
        &rows,
        "",
    )
}

fn rows_of(process: &ProcessStatus, several_apps: bool) -> Vec<Vec<Cell>> {
    let name = if several_apps {
        format!("{}.{}", process.app, process.process)
    } else {
        process.process.clone()
    };
    let ready = format!("{}/{}", process.ready, scale::wanted(process));
    let ready = if process.ready < process.wanted {
        Cell::looking(Look::Warning, ready)
    } else {
        ready.into()
    };
    let limits = format!(
        "{}, {}.{} CPU",
        size(process.memory_bytes),
        process.cpu_milli / 1000,
        process.cpu_milli % 1000 / 100
    );
    let mut first = vec![Cell::looking(Look::Bold, name), ready];
    let Some((one, others)) = process.instances.split_first() else {
        let sleeps = process.wanted == 0 && process.range.is_some_and(|range| range.min == 0);
        let state = if sleeps { "asleep (stopped)" } else { "-" };
        first.extend(["-".into(), state.into(), "-".into(), "-".into(), limits.into()]);
        return vec![first];
    };
    first.extend(instance_cells(one));
    first.push(limits.into());
    let mut rows = vec![first];
    for instance in others {
        let mut row: Vec<Cell> = vec!["".into(), "".into()];
        row.extend(instance_cells(instance));
        rows.push(row);
    }
    rows
}

fn instance_cells(instance: &Instance) -> [Cell; 4] {
    [
        instance.id.as_str().into(),
        state_cell(&instance.state),
        instance.release.to_string().into(),
        ago(&instance.started).into(),
    ]
}

/// Who sleeps does so in one of two ways.
fn state_cell(state: &str) -> Cell {
    match state {
        "asleep" => Cell::looking(Look::of_state(state), "asleep (frozen)"),
        state => Cell::state(state),
    }
}

/// Instances that drain or wait frozen for a rollback have a reason too, and are fine.
fn is_in_trouble(instance: &Instance) -> bool {
    matches!(instance.state.as_str(), "starting" | "unhealthy" | "crashed" | "exited")
}

fn troubles(ui: &Ui, instance: &Instance) -> Result<()> {
    let Some(reason) = &instance.reason else { return Ok(()) };
    let crashes = if instance.crashes > 0 {
        format!(" ({} crashes in a row)", instance.crashes)
    } else {
        String::new()
    };
    ui.data(&format!(
        "\n{}: {}{crashes}",
        ui.out(Look::Bold, &instance.id),
        log_text(reason, false)
    ))?;
    instance
        .last_lines
        .iter()
        .try_for_each(|line| ui.data(&format!("  {}", ui.out(Look::Faint, &log_text(line, false)))))
}
