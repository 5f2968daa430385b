//! What an environment can cost at most, told before it runs (M10).

use weir_ledger::Nano;
use weir_ledger::book::Scope;
use weir_ledger::forecast::{Load, stops_at, worst_case};
use weir_model::project::{Environment, Project, Scale};
use weir_model::release::Release;

use crate::context::Context;

/// Hours of a month, as prices count them.
const MONTH_HOURS: u32 = 730;

/// What the instances of a release may use, scale applied.
pub(crate) fn loads(release: &Release, scales: &[Scale]) -> Vec<Load> {
    let mut loads = Vec::new();
    for release_app in release.apps.values() {
        for (process, spec) in &release_app.spec.processes {
            loads.push(Load {
                // A one-writer app never has two; a number that moves counts at its most.
                instances: release_app.spec.bounds(process, scales).most,
                cpu_milli: spec.cpu_milli,
                memory_bytes: spec.memory_bytes,
            });
        }
    }
    loads
}

/// One sentence: what these instances cost at worst, and where the caps of the environment and
/// its project would stop them.
pub(crate) fn sentence(context: &Context, project: &Project, environment: &Environment, loads: &[Load]) -> String {
    let book = context.money.book();
    let worst = worst_case(&book, loads);
    let mut words = format!(
        "at worst {} {} per hour, {} per month, requests and bytes sent on top",
        rounded(worst.per_hour),
        book.currency,
        rounded(worst.per_month)
    );
    let scopes = [
        (
            Scope::Environment(environment.id),
            format!("{}/{}", project.name, environment.name),
        ),
        (Scope::Project(project.id), project.name.to_string()),
        (Scope::Account(project.account), "the account".to_owned()),
    ];
    let mut first: Option<(i64, String)> = None;
    for (scope, name) in scopes {
        let Some(standing) = context.money.standing(scope) else {
            continue;
        };
        let Some(cap) = standing.cap else { continue };
        let left = standing.limit.saturating_sub(standing.settled);
        let Some(stop) = stops_at(left, worst, MONTH_HOURS) else {
            continue;
        };
        if first.as_ref().is_none_or(|(after_ms, _)| stop.after_ms < *after_ms) {
            let text = format!(
                "the cap of {name} ({}) would stop that after {}, at {} % of a month",
                rounded(cap.limit),
                span(stop.after_ms),
                stop.per_mille / 10
            );
            first = Some((stop.after_ms, text));
        }
    }
    words.push_str("; ");
    words.push_str(&first.map_or_else(|| "no cap stops that within a month".to_owned(), |(_, text)| text));
    words
}

/// Two digits after the point, or as many as show two that are not zero.
fn rounded(amount: Nano) -> String {
    let mut unit: i64 = 10_000_000;
    while unit > 1 && amount.0 < unit * 10 {
        unit /= 10;
    }
    Nano(amount.0 - amount.0 % unit).to_string()
}

fn span(milliseconds: i64) -> String {
    let minutes = milliseconds / 60_000;
    match minutes {
        0..120 => format!("{minutes} minutes"),
        120..2_880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_keep_two_digits() {
        for (nano, text) in [
            (7_123_456_789, "7.12"),
            (5_684_932, "0.0056"),
            (120, "0.00000012"),
            (0, "0.00"),
        ] {
            assert_eq!(rounded(Nano(nano)), text);
        }
    }

    #[test]
    fn spans_are_told_in_the_unit_that_fits() {
        assert_eq!(span(90 * 60_000), "90 minutes");
        assert_eq!(span(5 * 3_600_000), "5 hours");
        assert_eq!(span(72 * 3_600_000), "3 days");
    }
}
