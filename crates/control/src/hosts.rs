//! Host names: those that Weir gives, and those that people bring.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::certificate::HttpsPolicy;
use weir_model::policy::{Place, Rights};
use weir_model::project::Domain;
use weir_model::{AppName, DomainId, EnvironmentName, ProjectName, TcpServiceName};

use crate::api::ApiError;
use crate::config::Config;
use crate::console_hosts;
use crate::context::Context;
use crate::reconcile::Presence;
use crate::tcp;
use weir_model::project::{Environment, Project};

/// Longest host name, in bytes (RFC 1035).
const HOST_BYTES: usize = 253;
/// Most host names that are added at once.
const MOST_HOSTS: usize = 10_000;
/// Whoever comes without TLS is sent to it, once there is a certificate.
pub const USUAL_HTTPS: HttpsPolicy = HttpsPolicy {
    redirect: true,
    hsts_s: 0,
};

/// The host that Weir gives to the main app of an environment.
pub fn platform_host(config: &Config, project: &ProjectName, environment: &EnvironmentName) -> String {
    if environment.is_production() {
        format!("{project}.{}", config.domain)
    } else {
        format!("{project}-{environment}.{}", config.domain)
    }
}

/// Fails with words if a host is taken; by whom is said to those who may know of that.
pub async fn ensure_free(context: &Context, rights: Option<&Rights>, host: &str) -> Result<(), ApiError> {
    let domains = context.store.domain_list_all().await?;
    if let Some(taken) = domains.iter().find(|domain| domain.host == host) {
        return Err(taken_error(rights, host, owner_of(context, taken).await?));
    }
    match console_hosts::all(context).await?.contains(host) {
        true => Err(of_the_console(host)),
        false => Ok(()),
    }
}

fn of_the_console(host: &str) -> ApiError {
    ApiError::conflict(
        "host-of-console",
        format!("`{host}` is where people sign in to this Weir"),
    )
    .with_hint("choose another name; one by which nobody has signed in for 90 days is free again")
}

fn taken_error(rights: Option<&Rights>, host: &str, owner: Option<(Place, String)>) -> ApiError {
    let told = owner.filter(|(place, _)| rights.is_some_and(|rights| rights.knows(*place)));
    let words = match told {
        Some((_, owner)) => format!("the host `{host}` already belongs to {owner}"),
        None => format!("the host `{host}` is taken already"),
    };
    ApiError::conflict("host-taken", words).with_hint("choose another name")
}

/// Whose a host is, in words; `None` if that is being removed.
pub(crate) async fn owner_of(context: &Context, domain: &Domain) -> Result<Option<(Place, String)>, ApiError> {
    let Some(environment) = context.store.environment_by_id(domain.environment).await? else {
        return Ok(None);
    };
    let project = context.store.project_by_id(environment.project).await?;
    Ok(project.map(|project| {
        let words = match environment.name.is_production() {
            true => format!("the project `{}`", project.name),
            false => format!(
                "the environment `{}` of the project `{}`",
                environment.name, project.name
            ),
        };
        (Place::Environment(project.account, project.id, environment.id), words)
    }))
}

/// Checks a host name that somebody brings: RFC 1123, lower-cased, no address. Gives it in the
/// form in which it is kept.
pub fn check_host(given: &str) -> Result<String, ApiError> {
    let host = given.trim().trim_end_matches('.').to_ascii_lowercase();
    let shown: String = given.chars().take(80).collect();
    let refuse = |reason: &str| {
        ApiError::invalid(format!("`{shown}` cannot be a host name: {reason}"))
            .with_hint("a host name looks like `www.example.org`, without http:// and port")
    };
    if host.is_empty() || host.len() > HOST_BYTES {
        return Err(refuse("it must have 1 to 253 characters"));
    }
    if host == "localhost" || host.parse::<std::net::IpAddr>().is_ok() {
        return Err(refuse("it is the machine itself"));
    }
    for label in host.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err(refuse("each part between dots must have 1 to 63 characters"));
        }
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(refuse(
                "only letters, digits and - are allowed between dots (write umlauts and the like as xn--…)",
            ));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(refuse("no part may begin or end with -"));
        }
    }
    if host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(refuse("its last part must not be a number"));
    }
    Ok(host)
}

/// Adds a host to an environment. Fails if the environment has it already.
pub async fn add_domain(
    context: &Context,
    rights: &Rights,
    project: &Project,
    environment: &Environment,
    request: &weir_api::AddDomain,
) -> Result<Domain, ApiError> {
    let host = check_host(&request.host)?;
    ensure_free(context, Some(rights), &host).await?;
    let request = weir_api::PutDomains {
        hosts: vec![host],
        app: request.app.clone(),
        ..weir_api::PutDomains::default()
    };
    let (domains, _) = put_domains(context, rights, project, environment, &request).await?;
    domains
        .into_iter()
        .next()
        .ok_or_else(|| ApiError::internal("no host name was added"))
}

/// Adds host names to an environment, or changes how those answer that it has already: all or none.
/// Gives them all, and which are new.
pub async fn put_domains(
    context: &Context,
    rights: &Rights,
    project: &Project,
    environment: &Environment,
    request: &weir_api::PutDomains,
) -> Result<(Vec<Domain>, Vec<String>), ApiError> {
    if request.hosts.is_empty() || request.hosts.len() > MOST_HOSTS {
        return Err(ApiError::invalid(format!("give 1 to {MOST_HOSTS} host names at once")));
    }
    let app = request.app.as_deref().map(AppName::new).transpose()?;
    if let Some(app) = &app {
        ensure_app(context, environment, app).await?;
    }
    let tcp = match request.tcp.as_deref() {
        None | Some("") => None,
        Some(service) => Some(TcpServiceName::new(service)?),
    };
    if let Some(service) = &tcp {
        tcp::ensure_service(context, environment, app.as_ref(), service).await?;
    }
    let redirect_to = match request.redirect_to.as_deref() {
        None | Some("") => None,
        Some(target) => Some(check_host(target)?),
    };
    let known = context.store.domain_list_all().await?;
    let known: BTreeMap<&str, &Domain> = known.iter().map(|domain| (domain.host.as_str(), domain)).collect();
    let addition = Addition {
        context,
        rights,
        environment,
        own: platform_host(&context.config, &project.name, &environment.name),
        redirect_to: redirect_to.as_deref(),
        known: &known,
        consoles: console_hosts::all(context).await?,
    };
    let mut added = Vec::new();
    let mut domains: BTreeMap<String, Domain> = BTreeMap::new();
    let mut problems = Vec::new();
    for (at, given) in request.hosts.iter().enumerate() {
        let checked = addition.check(given).await;
        let host = match checked {
            Ok(host) => host,
            Err(error) => {
                problems.push((at + 1, error));
                continue;
            }
        };
        let old = known.get(host.as_str()).copied();
        let domain = changed(
            context,
            environment,
            old,
            &host,
            (app.clone(), redirect_to.clone(), tcp.clone(), request),
        );
        if domains.insert(host.clone(), domain).is_none() && old.is_none() {
            added.push(host);
        }
    }
    if !problems.is_empty() {
        return Err(together(problems, request.hosts.len()));
    }
    let domains: Vec<Domain> = domains.into_values().collect();
    context.store.domain_put(&domains).await?;
    settle_added(context, project, environment, &domains, &added).await;
    Ok((domains, added))
}

/// The first problem as it is where only one name was given, else all with the numbers of their
/// entries.
fn together(mut problems: Vec<(usize, ApiError)>, given: usize) -> ApiError {
    if given == 1
        && let Some((_, only)) = problems.pop()
    {
        return only;
    }
    let title = match problems.len() {
        1 => format!("one of the {given} host names cannot be added, so none was"),
        some => format!("{some} of the {given} host names cannot be added, so none was"),
    };
    let lines = problems
        .iter()
        .map(|(entry, error)| format!("{entry}: {}", error.title));
    let detail: Vec<String> = lines.collect();
    let entry = |(entry, error): (usize, ApiError)| weir_api::EntryProblem {
        entry,
        title: error.title.to_string(),
    };
    let mut error = ApiError::invalid(title).with_detail(detail.join("\n"));
    error.entries = problems.into_iter().map(entry).collect();
    error
}

/// Host names that are to be added to an environment.
struct Addition<'a> {
    context: &'a Context,
    rights: &'a Rights,
    environment: &'a Environment,
    /// The host that Weir has given to the environment.
    own: String,
    redirect_to: Option<&'a str>,
    known: &'a BTreeMap<&'a str, &'a Domain>,
    consoles: BTreeSet<String>,
}

impl Addition<'_> {
    /// Whether one can be added: names below Weir's own domain are given by Weir, except those below the
    /// environment's own host. Gives it in the form in which it is kept.
    async fn check(&self, given: &str) -> Result<String, ApiError> {
        let host = check_host(given)?;
        let (known, own, of_weir) = (self.known, &self.own, &self.context.config.domain);
        if let Some(domain) = known.get(host.as_str())
            && domain.environment != self.environment.id
        {
            let owner = owner_of(self.context, domain).await?;
            return Err(taken_error(Some(self.rights), &host, owner));
        }
        let below = host.ends_with(&format!(".{of_weir}"));
        let is_known = known.contains_key(host.as_str());
        if !is_known && self.consoles.contains(&host) {
            return Err(of_the_console(&host));
        }
        if host == *of_weir || (below && !is_known && !host.ends_with(&format!(".{own}"))) {
            let title = format!("`{host}` cannot be added: names below `{of_weir}` are given by Weir itself");
            return Err(ApiError::invalid(title).with_hint(format!("use a name of your own, or one below `{own}`")));
        }
        if self.redirect_to == Some(host.as_str()) {
            return Err(ApiError::invalid(format!("`{host}` cannot be sent to itself")));
        }
        let back = self.redirect_to.and_then(|target| known.get(target));
        if back.is_some_and(|target| target.redirect_to.as_deref() == Some(host.as_str())) {
            return Err(ApiError::invalid(format!(
                "`{host}` cannot be sent to a host that is sent to it"
            )));
        }
        Ok(host)
    }
}

/// A host as it is to be: what was not asked for stays as it is, or is as usual.
fn changed(
    context: &Context,
    environment: &Environment,
    old: Option<&Domain>,
    host: &str,
    (app, redirect_to, tcp, request): (
        Option<AppName>,
        Option<String>,
        Option<TcpServiceName>,
        &weir_api::PutDomains,
    ),
) -> Domain {
    let now_ms = context.clock.now_ms();
    let mut domain = old.cloned().unwrap_or_else(|| Domain {
        id: DomainId::from_parts(now_ms, context.clock.random()),
        environment: environment.id,
        app: None,
        host: host.to_owned(),
        platform: false,
        redirect_to: None,
        tcp: None,
        https: USUAL_HTTPS,
        created_ms: now_ms,
    });
    if app.is_some() {
        domain.app = app;
    }
    if request.redirect_to.is_some() {
        domain.redirect_to = redirect_to;
    }
    if request.tcp.is_some() {
        domain.tcp = tcp;
    }
    domain.https.redirect = request.https_redirect.unwrap_or(domain.https.redirect);
    domain.https.hsts_s = request.hsts_s.unwrap_or(domain.https.hsts_s);
    domain
}

async fn settle_added(
    context: &Context,
    project: &Project,
    environment: &Environment,
    domains: &[Domain],
    added: &[String],
) {
    context.reconciler.wake(environment.id);
    context.certificates.reload();
    // They were written together, and so they come together.
    if let Some(last) = domains.last() {
        context.reconciler.host_settled(&last.host, Presence::Known).await;
    }
    let message = match added {
        [] => return,
        [host] => format!("{host} was added"),
        [first, ..] => format!("{first} and {} more host names were added", added.len() - 1),
    };
    context
        .tasks
        .change(
            project.name.as_str(),
            Some(environment.name.as_str()),
            "domain.added",
            &message,
        )
        .await;
}

/// A host of an environment.
pub async fn find_domain(context: &Context, environment: &Environment, host: &str) -> Result<Domain, ApiError> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let domains = context.store.domain_list(environment.id).await?;
    domains.into_iter().find(|domain| domain.host == host).ok_or_else(|| {
        ApiError::not_found(
            "domain-not-found",
            format!("`{host}` is not a host of the environment `{}`", environment.name),
        )
        .with_hint("list them with `weir domain list`")
    })
}

async fn ensure_app(context: &Context, environment: &Environment, app: &AppName) -> Result<(), ApiError> {
    let Some(release) = crate::status::live_release(context, environment).await? else {
        return Ok(());
    };
    if release.apps.contains_key(app) {
        return Ok(());
    }
    let names: Vec<&str> = release.apps.keys().map(AppName::as_str).collect();
    Err(ApiError::invalid(format!(
        "there is no app `{app}` in the environment `{}`",
        environment.name
    ))
    .with_detail(format!("its apps are: {}", names.join(", "))))
}

/// Removes a host that somebody brought. Fails for those that Weir gives.
pub async fn remove_domain(
    context: &Context,
    project: &Project,
    environment: &Environment,
    host: &str,
) -> Result<(), ApiError> {
    let domain = find_domain(context, environment, host).await?;
    let host = domain.host;
    if domain.platform {
        return Err(ApiError::conflict(
            "domain-of-platform",
            format!("`{host}` is given by Weir and stays as long as its environment"),
        ));
    }
    context.store.domain_delete(environment.id, &host).await?;
    context.reconciler.wake(environment.id);
    context.certificates.reload();
    context.reconciler.host_settled(&host, Presence::Unknown).await;
    let message = format!("{host} was removed");
    context
        .tasks
        .change(
            project.name.as_str(),
            Some(environment.name.as_str()),
            "domain.removed",
            &message,
        )
        .await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_lower_cased_and_checked() {
        assert_eq!(check_host("WWW.Example.ORG.").unwrap(), "www.example.org");
        assert_eq!(check_host("xn--bcher-kva.example").unwrap(), "xn--bcher-kva.example");
        let long = format!("{}.org", "a.".repeat(130));
        for bad in [
            "",
            ".",
            "a..b",
            "-a.org",
            "a-.org",
            "a b.org",
            "http://a.org",
            "a.org:80",
            "a/b",
            "*.a.org",
            "é.org",
            "127.0.0.1",
            "1.2.3",
            "[::1]",
            "localhost",
            "a_b.org",
            "a\0.org",
            &long,
        ] {
            assert!(check_host(bad).is_err(), "{bad} was accepted");
        }
    }
}
