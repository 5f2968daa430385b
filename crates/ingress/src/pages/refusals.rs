//! Pages for requests that cost too much, or that an app makes to itself without end.

use http::StatusCode;
use weir_ledger::protocol::DenialReason;
use weir_ledger::wallet::NoMoney;
use weir_model::guard::{GuardRule, GuardTrip};

use super::Page;

/// The bucket of the pace lets out a useful amount about so often.
const PACE_RETRY_SECONDS: u32 = 15;
/// Node and ledger find each other again about so fast.
const LEDGER_RETRY_SECONDS: u32 = 5;
/// Nobody knows when a cap will be raised; once a minute does no harm.
const CAP_RETRY_SECONDS: u32 = 60;
const UNPAID: &str = "This app has reached its spending cap";

impl Page {
    /// Control has found that there is no money for the environment.
    pub(crate) fn unpaid(title: &str, message: &str, retry_after_s: u64) -> Self {
        let page = Self::new(
            StatusCode::PAYMENT_REQUIRED,
            "unpaid",
            UNPAID,
            format!("{message} {NOTHING_LOST}"),
        )
        .hint(cap_hint(&scope(title).0));
        match u32::try_from(retry_after_s) {
            Ok(0) => page,
            seconds => page.retry_after(seconds.unwrap_or(u32::MAX)),
        }
    }

    /// This node has no money for the request.
    pub(crate) fn no_money(title: &str, reason: NoMoney) -> Self {
        match reason {
            NoMoney::Denied(reason) => Self::denied(title, reason),
            NoMoney::CutOff => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "cut-off",
                "This app is waiting for its budget",
                format!(
                    "This node cannot reach its ledger and has spent what it held for {title}. \
                     It serves again as soon as the ledger answers."
                ),
            )
            .retry_after(LEDGER_RETRY_SECONDS),
            NoMoney::NotRecorded => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-recorded",
                "This app is waiting for its budget",
                format!(
                    "This node cannot write down what {title} spends (its disk may be full), and so spends \
                     nothing. It serves again as soon as it can."
                ),
            )
            .retry_after(LEDGER_RETRY_SECONDS),
        }
    }

    fn denied(title: &str, reason: DenialReason) -> Self {
        let (environment, project) = scope(title);
        let capped = |whose: String, scope: &str| {
            let detail = format!("The spending cap of {whose} is reached. {NOTHING_LOST}");
            Self::new(StatusCode::PAYMENT_REQUIRED, "unpaid", UNPAID, detail)
                .hint(cap_hint(scope))
                .retry_after(CAP_RETRY_SECONDS)
        };
        match reason {
            DenialReason::EnvironmentCap => capped(title.to_owned(), &environment),
            DenialReason::ProjectCap => capped(format!("the project {project}"), project),
            DenialReason::AccountCap => capped(format!("the account that pays for {title}"), "account:default"),
            DenialReason::Balance => Self::new(
                StatusCode::PAYMENT_REQUIRED,
                "unpaid",
                "This app has used up its balance",
                format!("The balance of the account that pays for {title} is empty. {NOTHING_LOST}"),
            )
            .hint("weir account   shows the balance and how to top it up".to_owned())
            .retry_after(CAP_RETRY_SECONDS),
            DenialReason::Gone => Self::new(
                StatusCode::PAYMENT_REQUIRED,
                "unpaid",
                "This app has no budget",
                format!("The ledger does not know {title}; it may have been deleted."),
            ),
            DenialReason::Pace => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "pace",
                "This app spends too fast",
                format!(
                    "{title} has spent so much of its cap in so short a time that the rest is let out slowly. \
                     This is its pace: it keeps a runaway from emptying the whole budget in seconds."
                ),
            )
            .hint(format!(
                "weir cap {environment}   shows what is left and what spends it\n\
                 weir cap set {project} AMOUNT/month --no-pace   lets it spend up to its cap at any speed"
            ))
            .retry_after(PACE_RETRY_SECONDS),
            DenialReason::Recalling => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "recalling",
                "This app is waiting for its budget",
                format!("The cap of {title} is nearly reached, and what others hold of it is being called back."),
            )
            .retry_after(1),
        }
    }

    /// The guard has caught a runaway.
    pub(crate) fn runaway(title: &str, trip: &GuardTrip) -> Self {
        let (environment, _) = scope(title);
        let GuardTrip { limit, measured, .. } = trip;
        let (what, option) = match trip.rule {
            GuardRule::Depth => (
                format!("it is the {measured}th in a chain of calls, and {limit} are allowed"),
                format!("--depth {}", limit.saturating_mul(2)),
            ),
            GuardRule::Descendants => (
                format!("one request from outside has led to {measured} calls, and {limit} are allowed"),
                format!("--descendants {}", limit.saturating_mul(5)),
            ),
            GuardRule::Repeats => (
                format!(
                    "the same content was asked for {measured} times on behalf of one request, and {limit} are allowed"
                ),
                format!("--repeats {}", limit.saturating_mul(4)),
            ),
            GuardRule::Reproduction => (
                format!(
                    "every call causes {} more, and so they never end; less than {} is allowed",
                    thousandths(*measured),
                    thousandths(*limit)
                ),
                "--no-reproduction".to_owned(),
            ),
            GuardRule::Growth => (
                format!(
                    "calls double every {} s; not faster than every {} s is allowed",
                    thousandths(*measured),
                    thousandths(*limit)
                ),
                "--no-reproduction".to_owned(),
            ),
            GuardRule::Background => (
                format!("it works at {measured} thousandths of a core although nobody asked anything of it"),
                "--background allow".to_owned(),
            ),
        };
        let detail = format!(
            "This call was made by an app of this Weir, and looks like a runaway: {what} (rule `{}`). \
             It was not passed on to {title}; requests of visitors are served.",
            trip.rule.name()
        );
        Self::new(StatusCode::LOOP_DETECTED, "runaway", "This call was refused", detail).hint(format!(
            "weir guard {environment}   shows the chain of calls and the rules\n\
             weir guard set {environment} {option}   allows more"
        ))
    }

    /// The request went out of Weir and came back too often.
    pub(crate) fn loops(most: usize) -> Self {
        let detail = format!(
            "This request has come through here more than {most} times already (its `CDN-Loop` header says so). \
             An app, or a proxy before it, sends it in circles. It was not passed on."
        );
        Self::new(
            StatusCode::LOOP_DETECTED,
            "loop",
            "This request goes in circles",
            detail,
        )
    }
}

const NOTHING_LOST: &str = "It is stopped until the cap is raised or the next period begins; all its data is safe.";

fn cap_hint(scope: &str) -> String {
    format!("weir cap {scope}   shows limit, spent and left\nweir cap set {scope} 20.00/month   raises the cap")
}

/// As commands take them: the environment (`shop`, `shop/staging`) and its project, out of the
/// title `shop` or `shop (staging)`.
fn scope(title: &str) -> (String, &str) {
    match title.split_once(" (") {
        Some((project, environment)) => (format!("{project}/{}", environment.trim_end_matches(')')), project),
        None => (title.to_owned(), title),
    }
}

fn thousandths(number: u64) -> String {
    format!("{}.{:03}", number / 1000, number % 1000)
}
