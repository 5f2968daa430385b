use weir_api::{Cap, CapChange, CapStanding, SetCap, Stopped};

use crate::amounts::{Scope, minute, parse_limit, shown, shown_or_dash, until};
use crate::client::Client;
use crate::context::{PlaceChoice, project_name};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Look, Ui};
use crate::session::Session;

/// Spending caps: what an account, a project and an environment may cost at most.
///
/// Money is held before it is spent, so a cap is never passed. Without a project, and in a folder
/// that belongs to none, all that the token may see are shown.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  weir cap                                   # how things stand\n  weir cap shop --json\n  weir cap set shop 7.00/month\n  weir cap set shop/staging 0.50/day --no-pace\n  weir cap set account:default 100.00/month\n  weir cap unset shop/staging                # bound by the project's cap alone again"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The project; otherwise that of this folder, and all where there is none.
    project: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Set a cap. First says what that means: the worst case, and when the cap would stop it.
    #[command(
        after_help = "Examples:\n  weir cap set 7.00/month                    # the project of this folder\n  weir cap set shop 14.00/month --dry-run\n  weir cap set shop/staging 0.50/day\n  weir cap set account:default 100.00/month"
    )]
    Set {
        /// What the cap is for (PROJECT, PROJECT/ENVIRONMENT or account:NAME; otherwise the project
        /// of this folder) and the limit: AMOUNT/day, /week, /month or /total.
        #[arg(value_name = "SCOPE LIMIT", num_args = 1..=2, required = true)]
        words: Vec<String>,
        /// Let the money out slowly after a burst: a tenth of the limit at once, the rest over hours.
        #[arg(long, overrides_with = "no_pace")]
        pace: bool,
        /// Let all of the limit out as fast as it is asked for.
        #[arg(long)]
        no_pace: bool,
        /// Only say what it would mean.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Take an environment's own cap away; its project's cap binds it alone then.
    #[command(after_help = "Examples:\n  weir cap unset shop/staging\n  weir cap unset --env staging")]
    Unset {
        /// PROJECT/ENVIRONMENT; otherwise the environment of this folder's project that --env names.
        scope: Option<String>,
        #[command(flatten)]
        place: PlaceChoice,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    match args.verb {
        None => show(args.project, session).await,
        Some(Verb::Set {
            words,
            pace,
            no_pace,
            dry_run,
            place,
        }) => {
            let (scope, limit) = match words.as_slice() {
                [scope, limit] => (Scope::parse(scope)?, limit),
                [limit] => (scope_of(&place)?, limit),
                _ => return Err(Failure::usage("what is the limit?").hint("weir cap set SCOPE 7.00/month")),
            };
            let (amount, period) = parse_limit(limit)?;
            let wanted = SetCap {
                limit: amount.to_string(),
                period: period.to_owned(),
                pace: (pace || no_pace).then_some(pace && !no_pace),
                dry_run: true,
            };
            set(&scope, wanted, dry_run, session).await
        }
        Some(Verb::Unset { scope, place }) => {
            let scope = scope.map_or_else(|| scope_of(&place), |scope| Scope::parse(&scope))?;
            unset(&scope, session).await
        }
    }
}

/// The project of this folder, or the environment that `--env` names.
fn scope_of(place: &PlaceChoice) -> Result<Scope> {
    let found = place.resolve()?;
    Ok(match place.env {
        Some(_) => Scope::Environment(found.project.to_string(), found.environment.to_string()),
        None => Scope::Project(found.project.to_string()),
    })
}

async fn show(project: Option<String>, session: &Session) -> Result<()> {
    let project = match project {
        Some(name) => Some(project_name(&name)?),
        // Where nothing says which, all are of interest.
        None => PlaceChoice::default().resolve().ok().map(|place| place.project),
    };
    let path = project.map_or_else(|| "/v1/caps".to_owned(), |name| format!("/v1/projects/{name}/cap"));
    let standings: Vec<CapStanding> = session.client()?.get(&path).await?;
    session.ui.result(&standings, || table(&session.ui, &standings))
}

fn table(ui: &Ui, standings: &[CapStanding]) -> Result<()> {
    let rows: Vec<Vec<Cell>> = standings.iter().map(row).collect();
    let headers = [
        "SCOPE", "CAP", "SPENT", "HELD", "LEFT", "PER HOUR", "REACHED", "AT WORST", "STATE",
    ];
    ui.table(&headers, &rows, "there is nothing yet that could cost anything")?;
    for standing in standings {
        if let (Some(cap), Some(limit)) = (&standing.cap, &standing.limit)
            && cap.limit != *limit
        {
            ui.note(&format!(
                "{} was set to {} when {} were spent and held already; that is the limit until its period ends",
                standing.scope,
                cap_text(cap),
                shown(limit)
            ));
        }
        if let Some(stopped) = &standing.stopped {
            let words = format!("{}: {}{}", standing.scope, stopped.message, kept_text(stopped));
            ui.note(&format!(
                "{}\n  {} {}",
                ui.err(Look::Warning, &words),
                ui.err(Look::Link, "hint:"),
                stopped.hint
            ));
        }
    }
    Ok(())
}

/// `; its data is kept until …`, where there is any that nobody pays for.
pub(crate) fn kept_text(stopped: &Stopped) -> String {
    let kept = stopped.kept_until.as_ref();
    kept.map_or_else(String::new, |until| format!("; its data is kept until {until}"))
}

fn row(standing: &CapStanding) -> Vec<Cell> {
    let own = |text: String| if standing.cap.is_some() { text } else { "-".to_owned() };
    let when = |instant: &Option<String>| instant.as_deref().map_or_else(|| "-".to_owned(), until);
    let state = match &standing.stopped {
        Some(stopped) => Cell::looking(Look::Bad, format!("stopped ({})", stopped.reason)),
        None => Cell::looking(Look::Good, "ok"),
    };
    vec![
        Cell::looking(Look::Bold, standing.scope.as_str()),
        own(standing.cap.as_ref().map(cap_text).unwrap_or_default()).into(),
        shown(&standing.settled).into(),
        shown(&standing.held).into(),
        shown_or_dash(standing.left.as_deref()).into(),
        shown(&standing.burn_per_hour).into(),
        when(&standing.reached).into(),
        when(&standing.reached_at_worst).into(),
        state,
    ]
}

/// `7.00/month`, and what is unusual about it.
pub(crate) fn cap_text(cap: &Cap) -> String {
    let pace = if cap.pace { " paced" } else { "" };
    format!("{}/{}{pace}", shown(&cap.limit), cap.period)
}

async fn set(scope: &Scope, wanted: SetCap, only_told: bool, session: &Session) -> Result<()> {
    let client = session.client()?;
    let ui = &session.ui;
    let path = scope.path();
    let told: CapChange = client.put(&path, &wanted).await?;
    explain(ui, &told);
    if only_told {
        return ui.result(&told, || {
            ui.note("nothing was changed");
            Ok(())
        });
    }
    let wanted = SetCap {
        dry_run: false,
        ..wanted
    };
    let done: CapChange = client.put(&path, &wanted).await?;
    finish(ui, &done)
}

async fn unset(scope: &Scope, session: &Session) -> Result<()> {
    let Scope::Environment(project, _) = scope else {
        return Err(Failure::usage("accounts and projects always have a cap")
            .detail("only the cap of an environment can be taken away; its project's binds it then")
            .hint("to allow more: weir cap set SCOPE AMOUNT/month"));
    };
    let client: Client = session.client()?;
    let done: CapChange = client.delete(&scope.path()).await?;
    session
        .ui
        .note(&format!("bound by the cap of {project} alone from now on"));
    finish(&session.ui, &done)
}

/// What a change means, before it is made.
fn explain(ui: &Ui, change: &CapChange) {
    let text = |cap: &Option<Cap>| cap.as_ref().map_or_else(|| "none of its own".to_owned(), cap_text);
    ui.note(&format!(
        "{}: {} -> {} ({}; {} spent and held in this period)",
        ui.err(Look::Bold, &change.scope),
        text(&change.before),
        text(&change.after),
        change.currency,
        shown(&change.spent_and_held)
    ));
    ui.note(&format!(
        "at worst {} per hour, {} per month; requests and bytes out come on top",
        shown(&change.worst_per_hour),
        shown(&change.worst_per_month)
    ));
    match &change.reached_at_worst {
        Some(instant) => ui.note(&format!(
            "the cap would stop that {} ({})",
            until(instant),
            minute(instant)
        )),
        None => ui.note("the cap would not stop that within the period"),
    }
    for line in &change.notes {
        ui.note(&ui.err(Look::Warning, line));
    }
}

fn finish(ui: &Ui, done: &CapChange) -> Result<()> {
    ui.result(done, || match (&done.after, &done.limit) {
        (Some(cap), Some(limit)) if cap.limit != *limit => ui.data(&format!(
            "{} {} (in force until the period ends: {})",
            done.scope,
            cap_text(cap),
            shown(limit)
        )),
        (Some(cap), _) => ui.data(&format!("{} {}", done.scope, cap_text(cap))),
        (None, _) => ui.data(&format!("{} no cap of its own", done.scope)),
    })
}
