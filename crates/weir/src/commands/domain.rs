use std::path::{Path, PathBuf};

use weir_api::{Domain, DomainCertificate, DomainsPut, PutDomains};

use super::var::read_file;
use crate::context::{Place, PlaceChoice};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Look, Ui, clock};
use crate::session::Session;

/// Host names of an environment, and how they stand with their certificates.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  weir domain                                    # all, with their certificates\n  weir domain add shop.example.org www.shop.example.org\n  weir domain add --file domains.txt             # one a line, # begins a comment\n  weir domain add example.org --redirect-to www.example.org\n  weir domain add api.example.org --app api --hsts\n  weir domain add db.example.org --tcp db\n  weir domain show shop.example.org\n  weir domain retry shop.example.org\n  weir domain remove shop.example.org"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    place: PlaceChoice,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Let host names of your own lead to this environment, or change how they answer: all or none.
    ///
    /// Names that it has already are fine. Each gets a certificate by itself once its DNS leads here.
    Add(Add),
    /// List host names.
    List {
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Show how a host name stands with its certificate.
    Show {
        /// The host name.
        host: String,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Try to get the certificate of a host name now, without the rest of the pause.
    Retry {
        /// The host name.
        host: String,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Remove a host name of your own.
    Remove {
        /// The host name.
        host: String,
        #[command(flatten)]
        place: PlaceChoice,
    },
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("names").required(true).multiple(true).args(["hosts", "file"]))]
struct Add {
    /// The host names.
    hosts: Vec<String>,
    /// Read host names from this file (`-`: standard input), one a line.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The app that answers, in a repository with several.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Send everybody to this host, with path and query.
    #[arg(long, value_name = "HOST")]
    redirect_to: Option<String>,
    /// Send nobody to another host any more.
    #[arg(long, conflicts_with = "redirect_to")]
    no_redirect: bool,
    /// Let it lead to this TCP service of the app ([[tcp]] in weir.toml), by TLS at the https port.
    #[arg(long, value_name = "SERVICE", conflicts_with = "redirect_to")]
    tcp: Option<String>,
    /// Answer HTTP again.
    #[arg(long, conflicts_with = "tcp")]
    no_tcp: bool,
    /// Send whoever comes without TLS to it, once there is a certificate; that is so unless it was
    /// changed.
    #[arg(long, conflicts_with = "no_https_redirect")]
    https_redirect: bool,
    /// Answer without TLS, too.
    #[arg(long)]
    no_https_redirect: bool,
    /// Have browsers come only with TLS, for so many seconds (a year if none are given; 0: no more).
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "31536000")]
    hsts: Option<u32>,
    #[command(flatten)]
    place: PlaceChoice,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let ui = &session.ui;
    match args.verb {
        None => list(session, args.place.resolve()?).await,
        Some(Verb::List { place }) => list(session, place.resolve()?).await,
        Some(Verb::Add(add)) => add_all(session, add).await,
        Some(Verb::Show { host, place }) => {
            let path = place.resolve()?.path(&format!("/domains/{}", checked(host)?));
            let domain: Domain = session.client()?.get(&path).await?;
            ui.result(&domain, || show(ui, &domain))
        }
        Some(Verb::Retry { host, place }) => {
            let path = place.resolve()?.path(&format!("/domains/{}/retry", checked(host)?));
            let domain: Domain = session.client()?.post_empty(&path).await?;
            ui.result(&domain, || {
                ui.note(&format!(
                    "it is tried now; see how it goes: weir domain show {}",
                    domain.host
                ));
                Ok(())
            })
        }
        Some(Verb::Remove { host, place }) => {
            let place = place.resolve()?;
            let host = checked(host)?;
            session
                .client()?
                .delete_quietly(&place.path(&format!("/domains/{host}")))
                .await?;
            ui.result(&serde_json::json!({ "removed": host }), || {
                ui.note(&format!("{host} leads nowhere from now on"));
                Ok(())
            })
        }
    }
}

async fn add_all(session: &Session, add: Add) -> Result<()> {
    let ui = &session.ui;
    let place = add.place.resolve()?;
    let mut named: Vec<Named> = add.hosts.into_iter().map(Named::given).collect();
    if let Some(file) = &add.file {
        named.extend(Named::in_file(file, &read_file(file)?));
    }
    if named.is_empty() {
        return Err(Failure::usage("there is no host name in the file").hint("write one a line"));
    }
    let redirect = match (add.https_redirect, add.no_https_redirect) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let wanted = PutDomains {
        hosts: named.iter().map(|named| named.host.clone()).collect(),
        app: add.app,
        redirect_to: if add.no_redirect {
            Some(String::new())
        } else {
            add.redirect_to
        },
        tcp: if add.no_tcp { Some(String::new()) } else { add.tcp },
        https_redirect: redirect,
        hsts_s: add.hsts,
    };
    let put: Result<DomainsPut> = session.client()?.put(&place.path("/domains"), &wanted).await;
    let put = put.map_err(|failure| by_place(failure, &named))?;
    ui.result(&put, || {
        ui.note(&format!(
            "{} added, {} there already; they lead to {} {}",
            put.added.len(),
            put.domains.len() - put.added.len(),
            place.project,
            place.environment
        ));
        if !put.added.is_empty() {
            ui.note("let their DNS records point to this machine; weir domain tells how it goes");
        }
        put.domains.iter().try_for_each(|domain| ui.data(&domain.url))
    })
}

/// A host name, and where it was given.
struct Named {
    host: String,
    place: Option<String>,
}

impl Named {
    fn given(host: String) -> Self {
        Self { host, place: None }
    }

    /// Those of a file: one a line, `#` begins a comment.
    fn in_file(file: &Path, text: &str) -> Vec<Self> {
        let lines = text.lines().enumerate().filter_map(|(at, line)| {
            let host = line.split('#').next().unwrap_or_default().trim();
            (!host.is_empty()).then(|| Self {
                host: host.to_owned(),
                place: Some(format!("{}:{}", file.display(), at + 1)),
            })
        });
        lines.collect()
    }
}

/// Says of each problem where its host name was given.
fn by_place(mut failure: Failure, named: &[Named]) -> Failure {
    if let [only] = named
        && let Some(place) = &only.place
    {
        failure.detail.get_or_insert_with(|| place.clone());
    }
    if failure.entries.is_empty() {
        return failure;
    }
    let lines = failure.entries.iter().map(|problem| {
        let named = problem.entry.checked_sub(1).and_then(|at| named.get(at));
        match named.and_then(|named| named.place.as_ref()) {
            Some(place) => format!("{place}: {}", problem.title),
            None => problem.title.clone(),
        }
    });
    let detail = lines.collect::<Vec<_>>().join("\n");
    failure.detail(detail)
}

async fn list(session: &Session, place: Place) -> Result<()> {
    let ui = &session.ui;
    let domains: Vec<Domain> = session.client()?.get(&place.path("/domains")).await?;
    ui.result(&domains, || {
        let rows: Vec<Vec<Cell>> = domains.iter().map(row).collect();
        let headers = ["ADDRESS", "APP", "ORIGIN", "CERTIFICATE", "WHAT OF IT"];
        ui.table(&headers, &rows, "there are no host names")?;
        let mut hints: Vec<&str> = domains
            .iter()
            .filter_map(|domain| domain.certificate.as_ref()?.hint.as_deref())
            .collect();
        hints.sort_unstable();
        hints.dedup();
        for hint in hints {
            ui.note(&format!("hint: {hint}"));
        }
        Ok(())
    })
}

fn row(domain: &Domain) -> Vec<Cell> {
    let origin = if domain.platform { "given by Weir" } else { "your own" };
    let state = domain
        .certificate
        .as_ref()
        .map(|certificate| certificate.state.as_str());
    let mut what: Vec<String> = domain
        .redirect_to
        .iter()
        .map(|target| format!("sent to {target}"))
        .collect();
    what.extend(
        domain
            .tcp
            .iter()
            .map(|service| format!("leads to the TCP service {service}")),
    );
    what.extend(domain.certificate.as_ref().map(words));
    vec![
        Cell::looking(Look::Link, domain.url.as_str()),
        domain.app.clone().into(),
        origin.into(),
        state.map_or_else(|| "".into(), Cell::state),
        what.join("; ").into(),
    ]
}

/// How it stands, and when that changes by itself.
fn words(certificate: &DomainCertificate) -> String {
    let at = |instant: &Option<String>| instant.as_deref().map(clock).unwrap_or_default();
    match certificate.state.as_str() {
        "valid" => format!("{}, until {}", certificate.detail, at(&certificate.ends)),
        "limited" if certificate.next.is_some() => format!("{}, until {}", certificate.detail, at(&certificate.next)),
        "failing" if certificate.next.is_some() => {
            format!("{}; tried again {}", certificate.detail, at(&certificate.next))
        }
        _ => certificate.detail.clone(),
    }
}

fn show(ui: &Ui, domain: &Domain) -> Result<()> {
    ui.data(&format!("address: {}", ui.out(Look::Link, &domain.url)))?;
    ui.data(&format!("app: {}", domain.app.as_deref().unwrap_or("the main one")))?;
    if let Some(target) = &domain.redirect_to {
        ui.data(&format!("everybody is sent to: {target}"))?;
    }
    if let Some(service) = &domain.tcp {
        ui.data(&format!("leads to the TCP service: {service}"))?;
    }
    let without = if domain.tcp.is_some() {
        "not answered"
    } else if domain.https_redirect {
        "sent to TLS, once there is a certificate"
    } else {
        "answered, too"
    };
    ui.data(&format!("without TLS: {without}"))?;
    if domain.hsts_s > 0 {
        ui.data(&format!("browsers come only with TLS for: {} s", domain.hsts_s))?;
    }
    let Some(certificate) = &domain.certificate else {
        return Ok(());
    };
    let state = ui.out(Look::of_state(&certificate.state), &certificate.state);
    ui.data(&format!("certificate: {state}, {}", words(certificate)))?;
    if let (Some(next), "valid") = (&certificate.next, certificate.state.as_str()) {
        ui.data(&format!("looked at again: {}", clock(next)))?;
    }
    if let Some(hint) = &certificate.hint {
        ui.note(&format!("hint: {}", hint.replace("NAME", &domain.host)));
    }
    Ok(())
}

/// Only what may stand in a path; the API checks the rest.
fn checked(host: String) -> Result<String> {
    let sound = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_*".contains(&byte));
    if sound {
        Ok(host)
    } else {
        Err(Failure::usage(format!("`{host}` is not a host name"))
            .hint("for example: weir domain add shop.example.org"))
    }
}

#[cfg(test)]
mod tests {
    use weir_api::EntryProblem;

    use super::*;

    #[test]
    fn a_file_has_a_name_a_line_and_comments() {
        let text = "# shops\n\n a.example.org  # the first\r\nb.example.org\n";
        let named = Named::in_file(Path::new("domains.txt"), text);
        let told: Vec<(&str, &str)> = named
            .iter()
            .map(|named| (named.host.as_str(), named.place.as_deref().unwrap()))
            .collect();
        assert_eq!(
            told,
            [("a.example.org", "domains.txt:3"), ("b.example.org", "domains.txt:4")]
        );
    }

    #[test]
    fn problems_are_told_by_line() {
        let named = [
            Named::given("x".to_owned()),
            Named {
                host: "y".to_owned(),
                place: Some("f:7".to_owned()),
            },
        ];
        let problem = |entry, title: &str| EntryProblem {
            entry,
            title: title.to_owned(),
        };
        let mut failure = Failure::usage("2 of 2");
        failure.entries = Box::new([problem(1, "x is taken"), problem(2, "y is wrong")]);
        assert_eq!(
            by_place(failure, &named).detail.as_deref(),
            Some("x is taken\nf:7: y is wrong")
        );
    }

    #[test]
    fn a_limit_is_told_with_its_end() {
        let certificate = DomainCertificate {
            state: "limited".to_owned(),
            detail: "a limit of the authority is reached".to_owned(),
            hint: None,
            ends: None,
            next: Some("2001-02-03T14:20:30.000Z".to_owned()),
        };
        assert_eq!(
            words(&certificate),
            "a limit of the authority is reached, until 2001-02-03 14:20 UTC"
        );
    }
}
