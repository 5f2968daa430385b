use std::path::PathBuf;

use weir_api::{EnvironmentStatus, Maintenance, Protection, SetMaintenance};

use super::var::read_file;
use crate::context::PlaceChoice;
use crate::failure::{Failure, Result};
use crate::output::{Ui, ago, clock};
use crate::session::Session;

/// Close an environment for a while: visitors get a page that says so.
///
/// The app goes on, and so do deploys, workers and releases; only requests from outside are
/// answered by Weir, with 503.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  weir maintenance on --message \"We move to a larger shop.\" --until 14:00 --allow 203.0.113.9\n  weir maintenance on --page closed.html --bypass\n  weir maintenance\n  weir maintenance off"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    place: PlaceChoice,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Close it, within a second. Said again, what is said now holds.
    On {
        /// What visitors are told.
        #[arg(long, value_name = "TEXT")]
        message: Option<String>,
        /// When it will probably be over: 14:00 (UTC, today or tomorrow), or 2026-11-21T14:00:00Z. It does not end by itself.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Addresses and networks that get through all the same; may be given several times.
        #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
        allow: Vec<String>,
        /// A page of your own in HTML, at most 64 KiB; it may neither load nor run anything.
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
        /// Print a secret link: whoever opens it gets through with that browser, until the maintenance ends or is set anew.
        #[arg(long)]
        bypass: bool,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Open it again.
    Off {
        #[command(flatten)]
        place: PlaceChoice,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let client = session.client()?;
    let ui = &session.ui;
    let mut link = None;
    let protection: Protection = match args.verb {
        None => client.get(&args.place.resolve()?.path("/protection")).await?,
        Some(Verb::On {
            message,
            until,
            allow,
            page,
            bypass,
            place,
        }) => {
            let until = until.map(|text| instant(&text, jiff::Timestamp::now())).transpose()?;
            let closed = SetMaintenance {
                message,
                until: until.map(|until| until.to_string()),
                allow,
                page: page.map(|file| read_file(&file)).transpose()?,
                bypass,
            };
            let place = place.resolve()?;
            let protection: Protection = client.put(&place.path("/maintenance"), &closed).await?;
            if let Some(path) = &protection.bypass_path {
                let status: EnvironmentStatus = client.get(&place.path("")).await?;
                link = Some(format!("{}{path}", status.environment.url.trim_end_matches('/')));
            }
            protection
        }
        Some(Verb::Off { place }) => client.delete(&place.resolve()?.path("/maintenance")).await?,
    };
    let shown = protection.maintenance.as_ref().map(|maintenance| Shown {
        maintenance,
        bypass_link: link.as_deref(),
    });
    ui.result(&shown, || {
        match &protection.maintenance {
            Some(closed) => tell(ui, closed)?,
            None => ui.data("open")?,
        }
        match &link {
            Some(link) => ui.data(&format!(
                "whoever opens this gets through; it is shown only now:\n  {link}"
            )),
            None => Ok(()),
        }
    })
}

/// As JSON: how it is closed, and the secret link if one was made.
#[derive(Debug, serde::Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    maintenance: &'a Maintenance,
    #[serde(skip_serializing_if = "Option::is_none")]
    bypass_link: Option<&'a str>,
}

/// The lines of a closed environment.
pub(super) fn tell(ui: &Ui, closed: &Maintenance) -> Result<()> {
    let until = closed.until.as_deref().map(|until| format!(", until {}", clock(until)));
    ui.data(&format!(
        "closed for maintenance since {}{}; open it again: weir maintenance off",
        ago(&closed.since),
        until.unwrap_or_default()
    ))?;
    if let Some(message) = &closed.message {
        ui.data(&format!(
            "  visitors are told: {}",
            crate::output::log_text(message, false)
        ))?;
    }
    if closed.own_page {
        ui.data("  visitors get a page of your own")?;
    }
    if closed.bypass {
        ui.data("  open to browsers that came by the secret link")?;
    }
    if !closed.allow.is_empty() {
        ui.data(&format!("  open to {}", closed.allow.join(", ")))?;
    }
    Ok(())
}

/// The next time that the clock shows this, or the instant.
fn instant(text: &str, now: jiff::Timestamp) -> Result<jiff::Timestamp> {
    let wrong = || Failure::usage(format!("`{text}` is no time")).hint("write 14:00 (UTC) or 2026-11-21T14:00:00Z");
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let time = jiff::civil::Time::strptime("%H:%M", text).map_err(|_| wrong())?;
    let zone = jiff::tz::TimeZone::UTC;
    let today = now.to_zoned(zone.clone()).date();
    let later = |date: jiff::civil::Date| Some(date.to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp());
    let days = [Some(today), today.tomorrow().ok()];
    let next = days.into_iter().flatten().filter_map(later).find(|at| *at > now);
    next.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_next_one_that_the_clock_shows() {
        let now: jiff::Timestamp = "2026-11-21T13:00:00Z".parse().unwrap();
        let at = |text: &str| instant(text, now).map(|at| at.to_string()).ok();
        assert_eq!(at("14:00").as_deref(), Some("2026-11-21T14:00:00Z"));
        assert_eq!(at("13:00").as_deref(), Some("2026-11-22T13:00:00Z"));
        assert_eq!(at("09:30").as_deref(), Some("2026-11-22T09:30:00Z"));
        assert_eq!(at("2026-12-01T08:00:00+01:00").as_deref(), Some("2026-12-01T07:00:00Z"));
        for wrong in ["", "soon", "25:00", "14"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }
}
