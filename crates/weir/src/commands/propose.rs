use std::fmt::Write as _;
use std::path::PathBuf;

use weir_api::{CreateUpload, Proposal};

use crate::client::Client;
use crate::commands::deploy::pack;
use crate::context::{Place, PlaceChoice};
use crate::failure::{Failure, Result};
use crate::output::{Look, Ui, printable};
use crate::session::Session;
use crate::upload;

/// Propose a weir.toml for a folder or an archive, with the reason for each line.
///
/// The source is sent and looked through; nothing is built and nothing is deployed. What is printed is a
/// weir.toml with the reasons as comments. A weir.toml that is there already is explained.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir propose\n  weir propose site > site/weir.toml\n  weir propose source.zip --project shop\n  weir propose --live --json"
)]
pub(crate) struct Args {
    /// The folder; or an archive: a tar, plain or gzip, or a zip.
    #[arg(default_value = ".")]
    source: PathBuf,
    /// For the source of the live release, as far as it was pushed with git.
    #[arg(long, conflicts_with = "source")]
    live: bool,
    #[command(flatten)]
    place: PlaceChoice,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    let client = session.client()?;
    let ui = &session.ui;
    let proposal: Proposal = match args.live {
        true => client.get_slowly(&place.path("/proposal")).await?,
        false => of_source(ui, &client, &place, args.source).await?,
    };
    if ui.is_json() {
        ui.json(&proposal)?;
    } else {
        tell(ui, &proposal);
        if !proposal.toml.is_empty() {
            ui.data(explained(&proposal).trim_end())?;
        }
    }
    match proposal.problems.len() {
        0 => Ok(()),
        count => Err(Failure::failed("it cannot be built like this").detail(match count {
            1 => "one thing is wrong or missing".to_owned(),
            count => format!("{count} things are wrong or missing"),
        })),
    }
}

async fn of_source(ui: &Ui, client: &Client, place: &Place, source: PathBuf) -> Result<Proposal> {
    let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (file, length) = if source.is_file() {
        let cannot = |error: std::io::Error| Failure::file("read", &source, &error);
        let file = std::fs::File::open(&source).map_err(cannot)?;
        let length = file.metadata().map_err(cannot)?.len();
        (file, length)
    } else {
        let archive = pack(ui, source).await?;
        (archive.file, archive.length)
    };
    let request = CreateUpload { size: length, name };
    let path = place.path("/uploads");
    let (_, own) = upload::send(client, ui, (path.as_str(), &request), file, length).await?;
    let proposal = client.get_slowly(&format!("{own}/proposal")).await;
    upload::forget(client, ui, &own).await;
    proposal
}

/// What is no part of the file, for people.
fn tell(ui: &Ui, proposal: &Proposal) {
    let arrow = ui.err(Look::Link, "----->");
    for app in &proposal.apps {
        let words = format!("{}: {} in {}, {}", app.app, app.kind, app.folder, app.because);
        ui.note(&format!("{arrow} {}", printable(&words)));
    }
    for problem in &proposal.problems {
        let line = problem.line.map(|line| format!(" (line {line})")).unwrap_or_default();
        ui.note(&format!("{}{line}", printable(&problem.title)));
        for hint in problem.hint.iter().flat_map(|hint| hint.lines()) {
            ui.note(&format!("  {}", printable(hint)));
        }
    }
    if let Some(worst) = &proposal.worst {
        let reached = match &worst.reached_at_worst {
            Some(at) => format!("the cap of {} stops it then at {at}", worst.scope),
            None => format!("the cap of {} is not reached then", worst.scope),
        };
        ui.note(&format!(
            "{arrow} At worst {} {} an hour, {} a month; {reached}",
            worst.worst_per_hour, worst.currency, worst.worst_per_month
        ));
    }
}

/// The file, with the reasons above their lines. They are comments, so that it can be kept as it is.
fn explained(proposal: &Proposal) -> String {
    let mut text = String::new();
    for (number, line) in proposal.toml.lines().enumerate() {
        let reasons = proposal.explanations.iter().filter(|reason| reason.line == number + 1);
        for reason in reasons.flat_map(|reason| reason.text.lines()) {
            let _ = writeln!(text, "# {}", printable(reason));
        }
        let _ = writeln!(text, "{}", printable(line));
    }
    text
}

#[cfg(test)]
mod tests {
    use weir_api::Explanation;

    use super::*;

    #[test]
    fn the_reasons_stand_above_their_lines() {
        let reason = |line, text: &str| Explanation {
            line,
            text: text.to_owned(),
        };
        let proposal = Proposal {
            apps: Vec::new(),
            toml: "[build]\nkind = \"python\"\n\n[process.web]\n".to_owned(),
            explanations: vec![reason(2, "app.py was found."), reason(4, "It listens.\nx = \u{1b}[2J")],
            present: None,
            problems: Vec::new(),
            worst: None,
        };
        let text = explained(&proposal);
        assert_eq!(
            text.lines().take(5).collect::<Vec<_>>(),
            [
                "[build]",
                "# app.py was found.",
                "kind = \"python\"",
                "",
                "# It listens."
            ]
        );
        assert!(
            text.ends_with("\n[process.web]\n") && !text.contains('\u{1b}'),
            "{text:?}"
        );
    }
}
