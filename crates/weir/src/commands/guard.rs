use weir_api::{BackgroundWork, Guard, GuardRules, GuardTrip, OnBackground, UpdateGuard};

use crate::amounts::shown;
use crate::client::with_query;
use crate::context::{Place, PlaceChoice, ProjectChoice, environment_name};
use crate::failure::Result;
use crate::output::{Cell, Look, Ui, ago, log_text};
use crate::session::Session;

/// The guard against runaways: its rules for each app, and what it caught.
///
/// It judges only the calls that instances make to addresses of this Weir; visitors from outside
/// are always served.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  weir guard\n  weir guard shop crawler\n  weir guard set shop crawler --depth 32 --descendants 5000 --repeats 0\n  weir guard set shop --off                  # only watch and tell\n  weir guard set shop --background slow\n  weir guard reset shop crawler"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    whose: Whose,
}

/// An app of an environment.
#[derive(Debug, clap::Args)]
struct Whose {
    /// The project; otherwise that of this folder.
    project: Option<String>,
    /// The app; otherwise all, or (to set) the main app.
    app: Option<String>,
    /// The environment; otherwise `production`.
    #[arg(long, short, value_name = "NAME")]
    env: Option<String>,
}

impl Whose {
    fn place(&self) -> Result<Place> {
        let project = ProjectChoice {
            project: self.project.clone(),
        };
        if let Some(name) = &self.env {
            environment_name(name)?;
        }
        PlaceChoice {
            project,
            env: self.env.clone(),
        }
        .resolve()
    }
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Set rules for an app; what is not named stays. Says what one request may cost at worst.
    Set {
        #[command(flatten)]
        whose: Whose,
        /// Longest chain of calls from one request from outside, 1 to 1000.
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
        depth: Option<u32>,
        /// Most calls that may descend from one request from outside, 1 to 1000000.
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        descendants: Option<u64>,
        /// Most times that the same content is asked for among them; 0 for no limit.
        #[arg(long, value_name = "NUMBER")]
        repeats: Option<u32>,
        /// Cut off a service whose own calls multiply, before any of the limits.
        #[arg(long, overrides_with = "no_reproduction")]
        reproduction: bool,
        /// Do not.
        #[arg(long)]
        no_reproduction: bool,
        /// Refuse what breaks the rules.
        #[arg(long, overrides_with = "off")]
        on: bool,
        /// Refuse nothing; only watch and tell.
        #[arg(long)]
        off: bool,
        /// What happens when an instance works although no request is in flight there: nothing, it
        /// is told, or it also gets only a hundredth of its CPU time until the next request.
        #[arg(long, value_parser = ["allow", "tell", "slow"])]
        background: Option<String>,
    },
    /// Give an app the default rules again.
    Reset {
        #[command(flatten)]
        whose: Whose,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let client = session.client()?;
    let ui = &session.ui;
    match args.verb {
        None => {
            let place = args.whose.place()?;
            let mut guard: Guard = client.get(&place.path("/guard")).await?;
            if let Some(app) = &args.whose.app {
                guard.rules.retain(|rules| rules.app == *app);
                guard.trips.retain(|trip| trip.app == *app);
                guard.background.retain(|work| work.app == *app);
            }
            ui.result(&guard, || show(ui, &guard))
        }
        Some(Verb::Set {
            whose,
            depth,
            descendants,
            repeats,
            reproduction,
            no_reproduction,
            on,
            off,
            background,
        }) => {
            let place = whose.place()?;
            let update = UpdateGuard {
                app: whose.app,
                enabled: (on || off).then_some(on && !off),
                depth,
                descendants,
                repeats,
                reproduction: (reproduction || no_reproduction).then_some(reproduction && !no_reproduction),
                background: background.as_deref().map(|word| match word {
                    "allow" => OnBackground::Allow,
                    "slow" => OnBackground::Slow,
                    _ => OnBackground::Tell,
                }),
            };
            let guard: Guard = client.patch(&place.path("/guard"), &update).await?;
            ui.result(&guard, || show(ui, &guard))
        }
        Some(Verb::Reset { whose }) => {
            let place = whose.place()?;
            let query: Vec<(&str, String)> = whose.app.into_iter().map(|app| ("app", app)).collect();
            let path = with_query(&place.path("/guard"), &query);
            let guard: Guard = client.delete(&path).await?;
            ui.result(&guard, || show(ui, &guard))
        }
    }
}

fn show(ui: &Ui, guard: &Guard) -> Result<()> {
    let rows: Vec<Vec<Cell>> = guard.rules.iter().map(row).collect();
    let headers = [
        "APP",
        "GUARD",
        "DEPTH",
        "DESCENDANTS",
        "REPEATS",
        "REPRODUCTION",
        "BACKGROUND",
        "ONE REQUEST AT WORST",
        "RULES",
    ];
    ui.table(&headers, &rows, "nothing is deployed here yet")?;
    for rules in &guard.rules {
        match &rules.worst_per_root {
            Some(worst) => ui.note(&format!(
                "{}: one request from outside costs at most about {} {} with all the calls that it causes",
                rules.app,
                shown(worst),
                guard.currency
            )),
            None => ui.note(&format!(
                "{}: the guard is off, so only the cap bounds what one request may cost (weir cap)",
                rules.app
            )),
        }
    }
    guard
        .background
        .iter()
        .try_for_each(|work| ui.data(&background_line(ui, work)))?;
    guard.trips.iter().try_for_each(|trip| tell(ui, trip))
}

/// An instance that works although nobody asked, as one line.
pub(super) fn background_line(ui: &Ui, work: &BackgroundWork) -> String {
    let slowed = if work.slowed { ", slowed down" } else { "" };
    let words = format!(
        "{}.{} works with no request in flight: {}.{} s of CPU time since {}{slowed}",
        work.app,
        work.process,
        work.cpu_ms / 1000,
        work.cpu_ms % 1000 / 100,
        ago(&work.since)
    );
    ui.out(Look::Warning, &words)
}

fn row(rules: &GuardRules) -> Vec<Cell> {
    let limit = |number: u64| {
        if number == 0 {
            "no limit".to_owned()
        } else {
            number.to_string()
        }
    };
    let on = |on: bool, words: [&str; 2]| if on { words[0].to_owned() } else { words[1].to_owned() };
    vec![
        Cell::looking(Look::Bold, rules.app.as_str()),
        on(rules.enabled, ["on", "off, only watches"]).into(),
        rules.depth.to_string().into(),
        budget(rules).into(),
        limit(u64::from(rules.repeats)).into(),
        on(rules.reproduction, ["on", "off"]).into(),
        match rules.background {
            OnBackground::Allow => "allow",
            OnBackground::Tell => "tell",
            OnBackground::Slow => "slow",
        }
        .into(),
        rules.worst_per_root.as_deref().map(shown).into(),
        on(rules.set, ["set", "defaults"]).into(),
    ]
}

/// The descendants that may be, and why they are fewer than the rule says.
fn budget(rules: &GuardRules) -> String {
    match rules.budget < rules.descendants {
        true => format!("{} (a tenth of the cap)", rules.budget),
        false => rules.descendants.to_string(),
    }
}

fn tell(ui: &Ui, trip: &GuardTrip) -> Result<()> {
    let number = |value: u64| match trip.rule.as_str() {
        "reproduction" | "background" => format!("{}.{:03}", value / 1000, value % 1000),
        "growth" => format!("doubles in {}.{:03} s", value / 1000, value % 1000),
        _ => value.to_string(),
    };
    let what = match (trip.warning, trip.refused) {
        (true, _) => "warning",
        (false, true) => "refused",
        (false, false) => "seen, not refused",
    };
    ui.data(&format!(
        "\n{} {}.{}  {}: {} (limit {})  {what}",
        ui.out(Look::Faint, &ago(&trip.at)),
        trip.app,
        trip.process,
        ui.out(Look::Warning, &trip.rule),
        number(trip.measured),
        number(trip.limit)
    ))?;
    trip.chain
        .iter()
        .try_for_each(|call| ui.data(&format!("  {}", log_text(call, false))))
}
