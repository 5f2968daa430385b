//! Host names: those that Weir gives, and those that people bring.

use weir_model::project::Domain;
use weir_model::{AppName, DomainId, EnvironmentName, ProjectName};

use crate::api::ApiError;
use crate::config::Config;
use crate::context::Context;
use crate::reconcile::Presence;
use weir_model::project::{Environment, Project};

/// Longest host name, in bytes (RFC 1035).
const HOST_BYTES: usize = 253;

/// The host that Weir gives to the main app of an environment.
pub fn platform_host(config: &Config, project: &ProjectName, environment: &EnvironmentName) -> String {
    if environment.is_production() {
        format!("{project}.{}", config.domain)
    } else {
        format!("{project}-{environment}.{}", config.domain)
    }
}

/// Fails with words if a host is taken, saying by whom.
pub async fn ensure_free(context: &Context, host: &str) -> Result<(), ApiError> {
    let Some(taken) = context
        .store
        .domain_list_all()
        .await?
        .into_iter()
        .find(|domain| domain.host == host)
    else {
        return Ok(());
    };
    Err(taken_error(host, owner_of(context, &taken).await?))
}

fn taken_error(host: &str, owner: Option<String>) -> ApiError {
    let owner = owner.unwrap_or_else(|| "something that is being removed".to_owned());
    ApiError::conflict("host-taken", format!("the host `{host}` already belongs to {owner}"))
        .with_hint("choose another name")
}

async fn owner_of(context: &Context, domain: &Domain) -> Result<Option<String>, ApiError> {
    let Some(environment) = context.store.environment_by_id(domain.environment).await? else {
        return Ok(None);
    };
    let project = context.store.project_by_id(environment.project).await?;
    Ok(project.map(|project| match environment.name.is_production() {
        true => format!("the project `{}`", project.name),
        false => format!(
            "the environment `{}` of the project `{}`",
            environment.name, project.name
        ),
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

/// Adds a host to an environment. Names below Weir's own domain are given by Weir, except those
/// below the environment's own host.
pub async fn add_domain(
    context: &Context,
    project: &Project,
    environment: &Environment,
    request: &weir_api::AddDomain,
) -> Result<Domain, ApiError> {
    let host = check_host(&request.host)?;
    let domain_suffix = format!(".{}", context.config.domain);
    let own = platform_host(&context.config, &project.name, &environment.name);
    if host == context.config.domain || (host.ends_with(&domain_suffix) && !host.ends_with(&format!(".{own}"))) {
        return Err(ApiError::invalid(format!(
            "names below `{}` are given by Weir itself",
            context.config.domain
        ))
        .with_hint(format!("use a name of your own, or one below `{own}`")));
    }
    let app = request.app.as_deref().map(AppName::new).transpose()?;
    if let Some(app) = &app {
        ensure_app(context, environment, app).await?;
    }
    ensure_free(context, &host).await?;
    let now_ms = context.clock.now_ms();
    let domain = Domain {
        id: DomainId::from_parts(now_ms, context.clock.random()),
        environment: environment.id,
        app,
        host,
        platform: false,
        created_ms: now_ms,
    };
    context.store.domain_insert(&domain).await?;
    context.reconciler.wake(environment.id);
    context.reconciler.host_settled(&domain.host, Presence::Known).await;
    let message = format!("{} was added", domain.host);
    context
        .tasks
        .change(
            project.name.as_str(),
            Some(environment.name.as_str()),
            "domain.added",
            &message,
        )
        .await;
    Ok(domain)
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
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let domains = context.store.domain_list(environment.id).await?;
    let Some(domain) = domains.iter().find(|domain| domain.host == host) else {
        return Err(ApiError::not_found(
            "domain-not-found",
            format!("`{host}` is not a host of the environment `{}`", environment.name),
        )
        .with_hint("list them with `weir domain list`"));
    };
    if domain.platform {
        return Err(ApiError::conflict(
            "domain-of-platform",
            format!("`{host}` is given by Weir and stays as long as its environment"),
        ));
    }
    context.store.domain_delete(environment.id, &host).await?;
    context.reconciler.wake(environment.id);
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
