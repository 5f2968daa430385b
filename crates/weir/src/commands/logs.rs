use std::time::{Duration, Instant};

use weir_api::{EnvironmentStatus, LogGap, LogLine};

use crate::client::{Client, EventReader};
use crate::context::{Place, PlaceChoice};
use crate::failure::{ExitCode, Failure, Result};
use crate::follow::parse;
use crate::output::{Look, Ui, log_text};
use crate::session::Session;

/// How long Weir may be away before we give up following.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(300);

/// Show what instances and builds wrote.
///
/// With --json, one object a line. Lines of stopped instances stay until they are rotated out.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir logs -f\n  weir logs --process worker --since 1h\n  weir logs --grep 'timeout' --since 2d -n 1000\n  weir logs --build\n  weir logs --access -f\n  weir logs --json | jq .text"
)]
pub(crate) struct Args {
    /// Go on with what is written from now on.
    #[arg(long, short)]
    follow: bool,
    /// Of builds instead of instances.
    #[arg(long, conflicts_with_all = ["process", "instance"])]
    build: bool,
    /// Requests to the app instead of what it wrote (see `weir access-log`); each line is JSON.
    #[arg(long, conflicts_with_all = ["process", "build"])]
    access: bool,
    /// Only of this process, for example `web`.
    #[arg(long, value_name = "NAME")]
    process: Option<String>,
    /// Only of this app, in a repository with several.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Only of this instance (see `weir status`).
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// Only since then: `90s`, `15m`, `1h`, `2d`, or an instant such as `2030-01-31T12:00:00Z`.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only until then, written likewise.
    #[arg(long, value_name = "WHEN", conflicts_with = "follow")]
    until: Option<String>,
    /// Only of `stdout`, `stderr`, or `weir` (what Weir says about instances).
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Only lines that contain this text.
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// At most so many of the newest lines, 1 to 10000.
    #[arg(long = "lines", short = 'n', default_value_t = 100, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    lines: u32,
    #[command(flatten)]
    place: PlaceChoice,
}

impl Args {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("limit", self.lines.to_string())];
        let named = [
            ("process", &self.process),
            ("app", &self.app),
            ("instance", &self.instance),
            ("since", &self.since),
            ("until", &self.until),
            ("stream", &self.stream),
            ("grep", &self.grep),
        ];
        query.extend(
            named
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.clone()?))),
        );
        for (name, wanted) in [("build", self.build), ("access", self.access), ("follow", self.follow)] {
            if wanted {
                query.push((name, "true".to_owned()));
            }
        }
        query
    }
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    let path = place.path("/logs");
    let client = session.client()?;
    if args.follow {
        let address = crate::client::with_query(&path, &args.query());
        let mut reader = Reader {
            ui: &session.ui,
            client: &client,
            address,
            last: None,
            heard: Instant::now(),
        };
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        return tokio::select! {
            result = reader.run() => result,
            // Whoever follows a log ends it like this; there is nothing to say.
            _ = &mut interrupt => Err(Failure::interrupted("")),
        };
    }
    let lines: Vec<LogLine> = client.get_query(&path, &args.query()).await?;
    if lines.is_empty() {
        session.ui.note(&no_lines(&args, &place, &client).await?);
    }
    lines.iter().try_for_each(|line| print(&session.ui, line))
}

/// What to say of an empty log: a wrong name may be the reason.
async fn no_lines(args: &Args, place: &Place, client: &Client) -> Result<String> {
    if args.app.is_none() && args.process.is_none() {
        return Ok("no lines".to_owned());
    }
    let status: EnvironmentStatus = client.get(&place.path("")).await?;
    let fits = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    let there = status
        .processes
        .iter()
        .any(|it| fits(&args.app, &it.app) && fits(&args.process, &it.process));
    if there || args.build {
        return Ok("no lines".to_owned());
    }
    let names = status.processes.iter().map(|it| format!("{}.{}", it.app, it.process));
    Ok(format!(
        "no lines, and nothing of that name runs; there is: {}",
        names.collect::<Vec<_>>().join(", ")
    ))
}

fn print(ui: &Ui, line: &LogLine) -> Result<()> {
    if ui.is_json() {
        return ui.json_line(line);
    }
    let colours = !ui.out(Look::Bold, "").is_empty();
    let at = line.at.get(..19).unwrap_or(&line.at).replace('T', " ");
    let source = if line.process == "build" {
        format!("{}.build", line.app)
    } else {
        format!("{}.{}", line.app, line.process)
    };
    // The end of an identifier is random; its beginning is the time.
    let instance = line
        .instance
        .as_deref()
        .map_or_else(String::new, |id| format!("[{}]", &id[id.len().saturating_sub(4)..]));
    let text = log_text(&line.text, colours);
    let text = match line.stream.as_str() {
        "weir" => ui.out(Look::Warning, &text),
        _ if colours => format!("{text}\u{1b}[0m"),
        _ => text,
    };
    ui.data(&format!(
        "{} {} {text}",
        ui.out(Look::Faint, &at),
        ui.out(Look::Link, &format!("{source}{instance}:"))
    ))
}

struct Reader<'a> {
    ui: &'a Ui,
    client: &'a Client,
    address: String,
    /// Identity of the last line: it goes on behind it.
    last: Option<String>,
    heard: Instant,
}

impl Reader<'_> {
    async fn run(&mut self) -> Result<()> {
        loop {
            let resume = self.last.clone();
            let problem = match self.client.events(&self.address, resume.as_deref()).await {
                Ok(events) => match self.read(events).await {
                    Ok(()) => Failure::unreachable("Weir ended the connection"),
                    Err(problem) => problem,
                },
                Err(problem) => problem,
            };
            if problem.code != ExitCode::Unreachable || self.heard.elapsed() > PATIENCE {
                return Err(problem);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read(&mut self, mut events: EventReader) -> Result<()> {
        self.heard = Instant::now();
        while let Some(event) = events.next().await? {
            self.heard = Instant::now();
            match event.name.as_str() {
                "line" => {
                    let line: LogLine = parse(&event.data)?;
                    print(self.ui, &line)?;
                    self.last = Some(line.id);
                }
                "gap" => {
                    let gap: LogGap = parse(&event.data)?;
                    self.ui.note(&format!(
                        "{} lines of {} are left out here: they were written faster than this log was read",
                        gap.lines, gap.app
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
