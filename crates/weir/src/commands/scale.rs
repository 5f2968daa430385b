use std::collections::BTreeMap;

use weir_api::{Accepted, EnvironmentStatus, InstanceNumber, ProcessStatus, SetScale};

use crate::context::PlaceChoice;
use crate::failure::{Failure, Result};
use crate::follow::{self, Waiting};
use crate::output::Cell;
use crate::session::Session;

/// Set how many instances of each process run; without arguments, show it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir scale web=3 worker=1\n  weir scale worker=0 --env staging\n  weir scale api.web=2   # process `web` of the app `api`\n  weir scale web=1..5    # as many as the requests ask for\n  weir scale web=0..5    # and stopped while nobody asks for it\n  weir scale"
)]
pub(crate) struct Args {
    /// PROCESS=NUMBER or APP.PROCESS=NUMBER, 0 to 100; LEAST..MOST where it is to follow the requests.
    #[arg(value_name = "PROCESS=NUMBER")]
    processes: Vec<String>,
    #[command(flatten)]
    place: PlaceChoice,
    #[command(flatten)]
    waiting: Waiting,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    let processes = parse(&args.processes)?;
    let client = session.client()?;
    if processes.is_empty() {
        let status: EnvironmentStatus = client.get(&place.path("")).await?;
        return session.ui.result(&status.processes, || {
            let rows: Vec<Vec<Cell>> = status
                .processes
                .iter()
                .map(|process| {
                    vec![
                        process.app.as_str().into(),
                        process.process.as_str().into(),
                        wanted(process).into(),
                    ]
                })
                .collect();
            session
                .ui
                .table(&["APP", "PROCESS", "INSTANCES"], &rows, "nothing is deployed here yet")
        });
    }
    let wanted: Vec<String> = processes
        .iter()
        .map(|(name, number)| format!("{name}={}", words(*number)))
        .collect();
    session.ui.note(&format!(
        "scaling {} {} to {}",
        place.project,
        place.environment,
        wanted.join(" ")
    ));
    let accepted: Accepted = client.put(&place.path("/scale"), &SetScale { processes }).await?;
    follow::finish(session, &client, accepted, args.waiting, |_| Ok(())).await
}

fn words(number: InstanceNumber) -> String {
    match number {
        InstanceNumber::Fixed(number) => number.to_string(),
        InstanceNumber::Moving { min, max } => format!("{min}..{max}"),
    }
}

/// `2`, or `2 of 1..5`.
pub(super) fn wanted(process: &ProcessStatus) -> String {
    match process.range {
        Some(range) => format!("{} of {}..{}", process.wanted, range.min, range.max),
        None => process.wanted.to_string(),
    }
}

fn parse(texts: &[String]) -> Result<BTreeMap<String, InstanceNumber>> {
    let mut processes = BTreeMap::new();
    for text in texts {
        let number = text
            .split_once('=')
            .and_then(|(name, number)| Some((name, number_of(number)?)));
        let Some((name, number)) = number.filter(|(name, _)| !name.is_empty()) else {
            return Err(
                Failure::usage(format!("`{text}` does not say how many instances of what"))
                    .detail("PROCESS=NUMBER is wanted, with a number from 0 to 100, or PROCESS=LEAST..MOST")
                    .hint("for example: weir scale web=3 worker=1, or weir scale web=1..5"),
            );
        };
        if processes.insert(name.to_owned(), number).is_some() {
            return Err(Failure::usage(format!("`{name}` is named twice")));
        }
    }
    Ok(processes)
}

fn number_of(text: &str) -> Option<InstanceNumber> {
    let one = |text: &str| text.parse().ok().filter(|number| *number <= 100_u32);
    match text.split_once("..") {
        None => one(text).map(InstanceNumber::Fixed),
        Some((min, max)) => {
            let (min, max) = (one(min)?, one(max)?);
            (min <= max && max > 0).then_some(InstanceNumber::Moving { min, max })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_instances_are_checked_before_anything_is_sent() {
        let parse = |text: &str| parse(&[text.to_owned()]);
        assert_eq!(parse("web=3").unwrap()["web"], InstanceNumber::Fixed(3));
        let moving = InstanceNumber::Moving { min: 0, max: 5 };
        assert_eq!(parse("web=0..5").unwrap()["web"], moving);
        for wrong in [
            "web=5..1",
            "web=0..0",
            "web=1..",
            "web=..5",
            "web=1..101",
            "web",
            "web=",
            "=3",
            "web=-1",
            "web=101",
            "web=x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong} was accepted");
        }
    }
}
