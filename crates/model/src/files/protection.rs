//! What `weir.toml` says about what is let through: limits, rates, and who may pass.

use super::reader::Findings;
use super::types::{AppFile, LimitsFile, RouteFile};
use super::values::{RequestRate, shorten};
use crate::VariableName;
use crate::protection::{MOST_NETWORKS, Network, ProtectionSpec, Rate, RatePer};

/// Least burst where none is said: a page and what it is made of.
const LEAST_BURST: u32 = 5;

pub(super) fn of_limits(limits: &LimitsFile) -> ProtectionSpec {
    ProtectionSpec {
        max_body_bytes: limits.max_body.map(|size| size.bytes),
        rate: limits.rate.map(|rate| bucket(rate, limits.burst, limits.per)),
        ..ProtectionSpec::default()
    }
}

/// Of a route that [`check`] has nothing against.
pub(super) fn of_route(route: &RouteFile) -> ProtectionSpec {
    ProtectionSpec {
        max_body_bytes: route.max_body.map(|size| size.bytes),
        rate: route.rate.map(|rate| bucket(rate, route.burst, route.per)),
        password: route.password.as_deref().and_then(|name| VariableName::new(name).ok()),
        allow: networks(&route.allow),
        deny: networks(&route.deny),
        satisfy: route.satisfy.unwrap_or_default(),
    }
}

fn bucket(rate: RequestRate, burst: Option<u32>, per: Option<RatePer>) -> Rate {
    let usual = (rate.requests / rate.per_s.max(1)).max(LEAST_BURST);
    Rate {
        requests: rate.requests,
        per_s: rate.per_s,
        burst: burst.unwrap_or(usual),
        per: per.unwrap_or_default(),
    }
}

pub(super) fn networks(texts: &[String]) -> Vec<Network> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// Checks what goes beyond keys and types.
pub(super) fn check(app: &AppFile, at: &str, findings: &mut Findings) {
    if let Some(limits) = &app.limits {
        check_rate(limits.rate, limits.burst, limits.per, &format!("{at}limits"), findings);
    }
    for (index, route) in app.route.iter().enumerate() {
        let at = format!("{at}route.{}", index + 1);
        check_rate(route.rate, route.burst, route.per, &at, findings);
        check_password(route.password.as_deref(), &at, findings);
        check_networks(&route.allow, &format!("{at}.allow"), findings);
        check_networks(&route.deny, &format!("{at}.deny"), findings);
        check_process(route, &app.route, &at, findings);
        if route.satisfy.is_some() && (route.password.is_none() || route.allow.is_empty()) {
            findings.at(
                &format!("{at}.satisfy"),
                "`satisfy` says how `password` and `allow` go together; set both of them, or remove it",
            );
        }
    }
}

/// A route that only protects must not lead elsewhere by the way.
fn check_process(route: &RouteFile, all: &[RouteFile], at: &str, findings: &mut Findings) {
    if route.process.is_some() || of_route(route) == ProtectionSpec::default() {
        return;
    }
    let plain = |route: &RouteFile| format!("{}/", route.path.trim_end_matches("/*").trim_end_matches('/'));
    let path = plain(route);
    let around = all
        .iter()
        .filter(|other| path.starts_with(&plain(other)) && other.process.is_some());
    let nearest = around.max_by_key(|other| other.path.len());
    let elsewhere =
        nearest.and_then(|other| Some((&other.path, other.process.as_deref().filter(|name| *name != "web")?)));
    if let Some((outer, process)) = elsewhere {
        findings.at(
            at,
            format!(
                "this route leads to `web`, but {} around it leads to `{process}`; say which is meant: process = \"{process}\"",
                shorten(outer)
            ),
        );
    }
}

fn check_rate(rate: Option<RequestRate>, burst: Option<u32>, per: Option<RatePer>, at: &str, findings: &mut Findings) {
    for (key, there) in [("burst", burst.is_some()), ("per", per.is_some())] {
        if there && rate.is_none() {
            findings.at(
                &format!("{at}.{key}"),
                format!("`{key}` says more of `rate`, and there is none; add one, like rate = \"5/s\""),
            );
        }
    }
}

fn check_password(password: Option<&str>, at: &str, findings: &mut Findings) {
    let Some(Err(_)) = password.map(VariableName::new) else {
        return;
    };
    // It is not shown, because it may be the password itself.
    findings.at(
        &format!("{at}.password"),
        "`password` is the name of a secret, like \"ADMIN_PASSWORD\", never a password: set the secret with \
         `weir set ADMIN_PASSWORD=user:password --secret`, and if a password stood here, change it, because git keeps it",
    );
}

pub(super) fn check_networks(texts: &[String], at: &str, findings: &mut Findings) {
    if texts.len() > MOST_NETWORKS {
        findings.at(at, format!("there are more than {MOST_NETWORKS} addresses"));
    }
    for text in texts {
        if let Err(error) = text.parse::<Network>() {
            findings.at(at, if text.is_empty() { shorten(&error) } else { error });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::Detected;
    use super::super::types::ProjectFile;
    use super::*;
    use crate::protection::Satisfy;
    use crate::spec::AppSpec;
    use crate::{AppName, ProcessName};

    fn spec(text: &str) -> Result<AppSpec, String> {
        let file = ProjectFile::parse(text).map_err(|problems| problems.to_string())?;
        let app = AppName::new("shop").unwrap();
        let detected = Detected {
            commands: [(ProcessName::web(), None)].into(),
            port: None,
        };
        let spec = file.apps(&app).remove(&app).unwrap().spec(app, &detected);
        spec.map_err(|problems| problems.join("\n"))
    }

    #[test]
    fn limits_of_the_app_and_of_a_route_are_read() {
        let spec = spec(
            "[limits]\nmax_body = \"10GiB\"\nrate = \"50/s\"\n\
             [[route]]\npath = \"/login\"\nrate = \"5/m\"\nburst = 20\nper = \"all\"\nmax_body = \"1MiB\"\n\
             [[route]]\npath = \"/admin\"\npassword = \"ADMIN_PASSWORD\"\nallow = [\"10.0.0.0/8\", \"::1\"]\n\
             deny = [\"10.6.6.6\"]\nsatisfy = \"any\"\n",
        )
        .unwrap();
        let rate = |requests, per_s, burst, per| {
            Some(Rate {
                requests,
                per_s,
                burst,
                per,
            })
        };
        assert_eq!(spec.protection.max_body_bytes, Some(10 << 30));
        assert_eq!(spec.protection.rate, rate(50, 1, 50, RatePer::Address));
        let [login, admin] = spec.routes.as_slice() else {
            panic!("two routes");
        };
        assert_eq!(login.protection.rate, rate(5, 60, 20, RatePer::All));
        assert!(!login.protection.asks());
        assert_eq!(admin.protection.password.as_ref().unwrap().as_str(), "ADMIN_PASSWORD");
        assert_eq!((admin.protection.allow.len(), admin.protection.deny.len()), (2, 1));
        assert_eq!(admin.protection.satisfy, Satisfy::Any);
    }

    #[test]
    fn what_cannot_hold_is_told_and_passwords_are_not_repeated() {
        let refused = |text: &str, words: &str| {
            let told = spec(text).unwrap_err();
            assert!(told.contains(words), "{told}");
            told
        };
        let route = "[[route]]\npath = \"/admin\"\n";
        let told = refused(&format!("{route}password = \"anna:geheim\"\n"), "never a password");
        assert!(
            told.contains("weir set ADMIN_PASSWORD") && !told.contains("geheim"),
            "{told}"
        );
        refused(
            &format!("{route}allow = [\"office.example\"]\n"),
            "names of hosts cannot be used",
        );
        refused(
            &format!("{route}deny = [\"10.1.2.3/8\"]\n"),
            "the network is 10.0.0.0/8",
        );
        refused(
            &format!("{route}burst = 5\n"),
            "`burst` says more of `rate`, and there is none",
        );
        refused(&format!("{route}satisfy = \"any\"\n"), "set both of them");
        refused(&format!("{route}rate = \"fast\"\n"), "not a rate");
        let api = "[[route]]\npath = \"/api\"\nprocess = \"api\"\n[[route]]\npath = \"/api/login\"\nrate = \"5/s\"\n";
        refused(api, "this route leads to `web`, but /api around it leads to `api`");
        refused("[limits]\nper = \"all\"\n", "`per` says more of `rate`");
        refused("[limits]\nmax_body = \"10\"\n", "not a size");
        refused("[limits]\nrates = \"5/s\"\n", "rates");
    }
}
