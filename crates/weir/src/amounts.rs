//! Money as people type and read it. Whole numbers throughout; scripts get all digits by
//! `--json` and `--csv`.

use weir_ledger::Nano;
use weir_ledger::money::NANO_PER_UNIT;

use crate::context::{environment_name, project_name};
use crate::failure::{Failure, Result};

/// A hundredth of the currency.
const CENT: i64 = NANO_PER_UNIT / 100;
/// Longest name of an account.
const ACCOUNT_CHARACTERS: usize = 30;
const PERIODS: [&str; 4] = ["day", "week", "month", "total"];

/// What a cap may be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `account:NAME`.
    Account(String),
    /// `PROJECT`.
    Project(String),
    /// `PROJECT/ENVIRONMENT`.
    Environment(String, String),
}

impl Scope {
    /// Reads what was typed.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if let Some(name) = text.strip_prefix("account:") {
            return account_name(name).map(Self::Account);
        }
        match text.split_once('/') {
            None => Ok(Self::Project(project_name(text)?.to_string())),
            Some((project, environment)) => Ok(Self::Environment(
                project_name(project)?.to_string(),
                environment_name(environment)?.to_string(),
            )),
        }
    }

    /// Where its cap is in the API.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Account(name) => format!("/v1/accounts/{name}/cap"),
            Self::Project(name) => format!("/v1/projects/{name}/cap"),
            Self::Environment(project, name) => format!("/v1/projects/{project}/environments/{name}/cap"),
        }
    }
}

/// Checks the name of an account.
pub(crate) fn account_name(name: &str) -> Result<String> {
    let fits = (1..=ACCOUNT_CHARACTERS).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits {
        return Ok(name.to_owned());
    }
    Err(Failure::usage(format!(
        "`{name}` cannot be the name of an account: 1 to 30 of a-z, 0-9 and -"
    ))
    .hint("list them with: weir account list"))
}

/// Reads an amount above zero; `example` is what the hint shows.
pub(crate) fn parse_amount(text: &str, example: &str) -> Result<Nano> {
    let hint = format!("for example: {example}");
    match text.parse::<Nano>() {
        Ok(amount) if amount > Nano::ZERO => Ok(amount),
        Ok(_) => Err(Failure::usage(format!("{text} is not above zero")).hint(hint)),
        Err(error) => Err(Failure::usage(error.to_string()).hint(hint)),
    }
}

/// Reads `7.00/month`. Gives the amount and the period.
pub(crate) fn parse_limit(text: &str) -> Result<(Nano, &'static str)> {
    const EXAMPLE: &str = "weir cap set shop 7.00/month";
    let Some((amount, period)) = text.split_once('/') else {
        parse_amount(text, EXAMPLE)?;
        return Err(Failure::usage(format!("{text} in what time?"))
            .detail("a cap is for a day, a week, a month or in total")
            .hint(format!("for example: {text}/month")));
    };
    let known = PERIODS.iter().find(|known| **known == period);
    let Some(period) = known else {
        let near = PERIODS
            .iter()
            .map(|known| (strsim::damerau_levenshtein(known, period), known))
            .min()
            .filter(|(distance, _)| *distance <= 2);
        let hint = match near {
            Some((_, known)) => format!("did you mean {amount}/{known}?"),
            None => format!("for example: {EXAMPLE}"),
        };
        return Err(Failure::usage(format!("`{period}` is not a period of a cap"))
            .detail("day, week, month and total are")
            .hint(hint));
    };
    let nano: Nano = match amount.parse() {
        Ok(nano) => nano,
        Err(_) => parse_amount(amount, EXAMPLE)?,
    };
    if nano == Nano::ZERO {
        return Err(Failure::usage("a cap of nothing would stop everything at once")
            .detail("a cap is above zero")
            .hint("to stop what runs: weir pause"));
    }
    parse_amount(amount, EXAMPLE).map(|amount| (amount, *period))
}

/// An amount of the API for people: rounded to cents, or to two digits where it is small.
pub(crate) fn shown(amount: &str) -> String {
    amount
        .parse::<Nano>()
        .map_or_else(|_| amount.to_owned(), |amount| rounded(amount).to_string())
}

/// The same where it may be absent.
pub(crate) fn shown_or_dash(amount: Option<&str>) -> String {
    amount.map_or_else(|| "-".to_owned(), shown)
}

fn rounded(amount: Nano) -> Nano {
    let mut step = CENT;
    while step > 1 && amount.0.unsigned_abs() < step.unsigned_abs() * 10 {
        step /= 10;
    }
    // Small sums keep two digits; from 0.10 on they are cents.
    let half = step / 2;
    let away = if amount.0 < 0 { -half } else { half };
    amount.0.checked_add(away).map_or(amount, |sum| Nano(sum - sum % step))
}

/// How long until an instant of the API: `in 5 h`; `now` if it is not ahead.
pub(crate) fn until(instant: &str) -> String {
    let Ok(then) = instant.parse::<jiff::Timestamp>() else {
        return instant.to_owned();
    };
    let span = then.duration_since(jiff::Timestamp::now());
    match std::time::Duration::try_from(span) {
        Ok(span) if !span.is_zero() => format!("in {}", crate::output::time_span(span)),
        _ => "now".to_owned(),
    }
}

/// An instant of the API to the minute, in UTC.
pub(crate) fn minute(instant: &str) -> String {
    instant.get(..16).map_or_else(
        || instant.to_owned(),
        |minute| format!("{} UTC", minute.replace('T', " ")),
    )
}

/// An instant of the API to the minute, in a time zone of the API; as it is where one of them
/// cannot be read.
pub(crate) fn local(instant: &str, zone: &str) -> String {
    let parsed = instant.parse::<jiff::Timestamp>().ok();
    match parsed.zip(jiff::tz::TimeZone::get(zone).ok()) {
        Some((at, zone)) => at.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string(),
        None => instant.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_in_the_zone_of_the_platform() {
        assert_eq!(local("2026-11-30T23:00:00.000Z", "Europe/Berlin"), "2026-12-01 00:00");
        assert_eq!(local("2026-11-30T23:00:00.000Z", "UTC"), "2026-11-30 23:00");
        assert_eq!(local("soon", "UTC"), "soon");
        assert_eq!(
            local("2026-11-30T23:00:00.000Z", "Mars/Olympus"),
            "2026-11-30T23:00:00.000Z"
        );
    }

    #[test]
    fn amounts_are_rounded_for_people_and_small_ones_keep_two_digits() {
        for (exact, seen) in [
            ("7.00", "7.00"),
            ("6.996", "7.00"),
            ("12.345678901", "12.35"),
            ("0.104", "0.10"),
            ("0.0999", "0.10"),
            ("0.0123", "0.012"),
            ("0.0000004", "0.0000004"),
            ("0.000000000", "0.00"),
            ("0.000001239", "0.0000012"),
            ("-0.005", "-0.005"),
            ("-3.456", "-3.46"),
            ("9223372036.854775807", "9223372036.854775807"),
        ] {
            assert_eq!(shown(exact), seen, "{exact}");
        }
    }

    #[test]
    fn limits_are_checked_before_anything_is_sent() {
        assert_eq!(parse_limit("7.00/month").unwrap(), (Nano(7_000_000_000), "month"));
        assert_eq!(parse_limit("0.000000001/total").unwrap(), (Nano(1), "total"));
        let words = |text: &str| {
            let failure = parse_limit(text).unwrap_err();
            format!(
                "{} | {} | {}",
                failure.message,
                failure.detail.unwrap_or_default(),
                failure.hint.unwrap_or_default()
            )
        };
        assert!(words("7.00/mouth").contains("did you mean 7.00/month?"));
        assert!(words("7.00/months").contains("did you mean 7.00/month?"));
        assert!(words("7.00/fortnight").contains("for example"));
        assert!(words("7.00").contains("for example: 7.00/month"));
        assert!(words("0/day").contains("weir pause"));
        assert!(words("-1.00/day").contains("not above zero"));
        assert!(words("7,00/month").contains("with a point"));
        assert!(words("0.0000000001/month").contains("at most nine digits"));
        assert!(words("99999999999/month").contains("too large"));
        assert!(words("€7/month").contains("write digits"));
    }

    #[test]
    fn scopes_are_an_account_a_project_or_an_environment() {
        let path = |text: &str| Scope::parse(text).map(|scope| scope.path());
        assert_eq!(path("account:default").unwrap(), "/v1/accounts/default/cap");
        assert_eq!(path("shop").unwrap(), "/v1/projects/shop/cap");
        assert_eq!(
            path("shop/staging").unwrap(),
            "/v1/projects/shop/environments/staging/cap"
        );
        for wrong in ["", "account:", "account:A", "shop/", "/x", "a/b/c", "No Name"] {
            assert!(path(wrong).is_err(), "{wrong} was accepted");
        }
    }
}
