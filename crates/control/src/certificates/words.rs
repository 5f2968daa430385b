//! How names stand, in plain words.

use std::collections::BTreeMap;

use weir_api::DomainCertificate;
use weir_model::UnixMillis;

use super::decide::Standing;
use super::{Certificates, names};
use crate::api::present::instant;

/// What the last pass has found.
#[derive(Debug, Default)]
pub(super) struct Standings {
    /// There was one.
    pub(super) known: bool,
    /// Whether the authority is one of somebody's own; `None`: there is none.
    pub(super) private: Option<bool>,
    /// What is the matter with the authority.
    pub(super) trouble: Option<String>,
    pub(super) standings: BTreeMap<String, Standing>,
    pub(super) problems: BTreeMap<String, String>,
    /// By name in a certificate: when it ends, and whether it was uploaded.
    pub(super) held: BTreeMap<String, (UnixMillis, bool)>,
}

/// How a host stands with its certificate.
pub fn present(certificates: &Certificates, host: &str, now_ms: UnixMillis) -> DomainCertificate {
    certificates.standings().of(host, now_ms)
}

impl Standings {
    /// Whether a host has a certificate.
    pub(super) fn covers(&self, host: &str, now_ms: UnixMillis) -> bool {
        let wildcard = names::wildcard_of(host);
        let names = [Some(host), wildcard.as_deref()].into_iter().flatten();
        let mut held = names.filter_map(|name| self.held.get(name));
        held.any(|(ends_ms, _)| *ends_ms > now_ms)
    }

    fn of(&self, host: &str, now_ms: UnixMillis) -> DomainCertificate {
        let wildcard = names::wildcard_of(host);
        let names = [Some(host), wildcard.as_deref()].into_iter().flatten();
        let held = names.clone().filter_map(|name| self.held.get(name).copied()).max();
        let held = held.filter(|(ends_ms, _)| *ends_ms > now_ms);
        let mut wanted = names.filter(|name| self.standings.contains_key(*name));
        let name = wanted.next().unwrap_or(host);
        let standing = self.standings.get(name).copied();
        let problem = self.problem(name, standing);
        let mut told = match held {
            Some((ends_ms, uploaded)) => DomainCertificate {
                ends: Some(instant(ends_ms)),
                ..in_force(uploaded, problem)
            },
            None => self.missing(host, standing, problem),
        };
        if let Some(Standing::Pausing(at) | Standing::Limited(at) | Standing::Covered(at)) = standing {
            told.next = Some(instant(at));
        }
        told
    }

    fn problem(&self, name: &str, standing: Option<Standing>) -> Option<String> {
        match (standing, &self.trouble) {
            (Some(Standing::Covered(_)), _) => None,
            (Some(Standing::Limited(_)), Some(trouble)) => Some(format!("no certificates can be had now: {trouble}")),
            _ => self.problems.get(name).cloned(),
        }
    }

    fn missing(&self, host: &str, standing: Option<Standing>, problem: Option<String>) -> DomainCertificate {
        if !self.known {
            return told("waiting", "it is looked at in a moment".to_owned(), None);
        }
        match self.private {
            _ if !names::is_askable(host, true) => {
                let words = "a name of the machine itself gets none";
                return told("none", words.to_owned(), None);
            }
            None => {
                let hint = "weir certificate authority --agree-terms, or weir certificate upload CHAIN KEY";
                return told("none", "there is no authority to get one from".to_owned(), Some(hint));
            }
            Some(false) if !names::is_askable(host, false) => {
                let hint = "weir certificate upload CHAIN KEY";
                return told(
                    "none",
                    "no public authority knows names like this".to_owned(),
                    Some(hint),
                );
            }
            Some(_) => {}
        }
        match (standing, problem) {
            (Some(Standing::UnderWay), _) => told("issuing", "the authority is being asked".to_owned(), None),
            (Some(Standing::Limited(_)), Some(problem)) if self.trouble.is_some() => told("failing", problem, None),
            (Some(Standing::Limited(_)), problem) => {
                let words = "a limit of the authority is reached; it goes on by itself";
                let words = problem.map_or_else(|| words.to_owned(), |problem| format!("{words} ({problem})"));
                told("limited", words, None)
            }
            (_, Some(problem)) => {
                let hint = "mend that; Weir tries again by itself, or at once with: weir domain retry NAME";
                told("failing", problem, Some(hint))
            }
            (_, None) => told("waiting", "it waits for its turn".to_owned(), None),
        }
    }
}

fn told(state: &str, detail: String, hint: Option<&str>) -> DomainCertificate {
    DomainCertificate {
        state: state.to_owned(),
        detail,
        hint: hint.map(str::to_owned),
        ends: None,
        next: None,
    }
}

fn in_force(uploaded: bool, problem: Option<String>) -> DomainCertificate {
    match (uploaded, problem) {
        (true, None) => told("valid", "uploaded".to_owned(), None),
        (false, None) => told("valid", "from the authority".to_owned(), None),
        (_, Some(problem)) => told("valid", format!("its renewal fails: {problem}"), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standings() -> Standings {
        Standings {
            known: true,
            private: Some(false),
            ..Standings::default()
        }
    }

    #[test]
    fn what_is_in_force_counts_and_its_renewal_is_told_of() {
        let mut all = standings();
        all.held.insert("*.example.org".to_owned(), (5_000, false));
        assert_eq!(all.of("www.example.org", 1_000).state, "valid");
        assert_eq!(all.of("www.example.org", 5_000).state, "waiting", "it has ended");
        all.standings
            .insert("*.example.org".to_owned(), Standing::Pausing(2_000));
        all.problems
            .insert("*.example.org".to_owned(), "no such zone".to_owned());
        let told = all.of("www.example.org", 1_000);
        assert_eq!(told.detail, "its renewal fails: no such zone");
        assert_eq!(told.next.as_deref(), Some("1970-01-01T00:00:02.000Z"));
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let mut all = standings();
        assert_eq!(all.of("shop.localhost", 0).state, "none");
        assert_eq!(
            all.of("shop.internal", 0).detail,
            "no public authority knows names like this"
        );
        all.problems
            .insert("a.example.org".to_owned(), "DNS knows no address".to_owned());
        all.standings.insert("a.example.org".to_owned(), Standing::Pausing(9));
        assert_eq!(all.of("a.example.org", 0).state, "failing");
        all.standings.insert("a.example.org".to_owned(), Standing::Limited(9));
        let told = all.of("a.example.org", 0);
        assert!(told.state == "limited" && told.detail.contains("DNS knows"), "{told:?}");
        all.trouble = Some("no answer within 30 s".to_owned());
        let told = all.of("a.example.org", 0);
        assert!(
            told.state == "failing" && told.detail.ends_with("no answer within 30 s"),
            "{told:?}"
        );
        all.private = None;
        assert!(all.of("a.example.org", 0).hint.unwrap().contains("--agree-terms"));
    }
}
