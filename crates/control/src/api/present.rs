//! From the nouns as they are kept to the shapes of the public API.

use weir_model::UnixMillis;
use weir_model::deployment::Deployment;
use weir_model::log::LogStream;
use weir_model::project::{Domain, Environment, Project, Token, Variable};
use weir_model::release::{Release, ReleaseSource};
use weir_model::task::{Task, TaskLine};
use weir_store::Change;

use super::error::ApiError;
use crate::certificates;
use crate::context::Context;
use crate::hosts::platform_host;
use crate::logs::Found;
use crate::status::live_release;

/// An instant as RFC 3339 text in UTC with milliseconds.
pub fn instant(at_ms: UnixMillis) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    format!("{at:.3}")
}

/// A project with its environments.
pub async fn project(context: &Context, project: &Project) -> Result<weir_api::Project, ApiError> {
    let mut environments = Vec::new();
    for one in context.store.environment_list(project.id).await? {
        environments.push(environment(context, project, &one).await?);
    }
    let host = platform_host(
        &context.config,
        &project.name,
        &weir_model::EnvironmentName::production(),
    );
    Ok(weir_api::Project {
        name: project.name.to_string(),
        id: project.id.to_string(),
        git_url: context.config.git_url(&project.name),
        url: context.config.url_of(&host),
        destroying: project.destroying,
        created: instant(project.created_ms),
        environments,
    })
}

/// An environment, as in lists.
pub async fn environment(
    context: &Context,
    project: &Project,
    environment: &Environment,
) -> Result<weir_api::Environment, ApiError> {
    let host = platform_host(&context.config, &project.name, &environment.name);
    Ok(weir_api::Environment {
        name: environment.name.to_string(),
        id: environment.id.to_string(),
        branch: environment.branch.clone(),
        mode: environment.mode.as_str().to_owned(),
        url: context.config.url_of(&host),
        release: live_release(context, environment).await?.map(|release| release.number),
    })
}

/// A deployment, with the number of its release.
pub fn deployment(deployment: &Deployment, release: i64) -> weir_api::Deployment {
    weir_api::Deployment {
        id: deployment.id.to_string(),
        release,
        kind: deployment.kind.as_str().to_owned(),
        state: deployment.state.as_str().to_owned(),
        reason: deployment.reason.clone(),
        task: deployment.task.to_string(),
        created: instant(deployment.created_ms),
        entered: instant(deployment.entered_ms),
        by: None,
        steps: Vec::new(),
    }
}

/// A release, with its latest deployment if it is known, and whether it serves.
pub fn release(release: &Release, latest: Option<&Deployment>, live: Option<&Release>) -> weir_api::Release {
    let message = match &release.source {
        ReleaseSource::Push { message, .. } | ReleaseSource::Upload { message } => message.lines().next(),
        ReleaseSource::Configuration { .. } | ReleaseSource::Promotion { .. } => None,
    };
    let (source, description, commit) = match &release.source {
        ReleaseSource::Push {
            commit,
            branch,
            message,
        } => {
            let short = commit.get(..7).unwrap_or(commit);
            ("push", format!("{branch} {short} {message}"), Some(commit.clone()))
        }
        ReleaseSource::Upload { message } => ("upload", message.clone(), None),
        ReleaseSource::Configuration { names } => ("configuration", format!("changed {}", names.join(", ")), None),
        ReleaseSource::Promotion { from, number } => ("promotion", format!("release {number} of {from}"), None),
    };
    weir_api::Release {
        number: release.number,
        id: release.id.to_string(),
        live: live.is_some_and(|live| live.id == release.id),
        source: source.to_owned(),
        description,
        commit,
        images: release
            .apps
            .iter()
            .map(|(name, app)| (name.to_string(), app.image.clone()))
            .collect(),
        outcome: latest.map(|deployment| deployment.state.as_str().to_owned()),
        created: instant(release.created_ms),
        by: None,
        message: message.map(ToOwned::to_owned),
    }
}

/// A variable; the value of a secret is left out.
pub fn variable(variable: &Variable, live: Option<&Release>) -> weir_api::Variable {
    let same = |other: &Variable| {
        (&other.name, &other.value, other.secret) == (&variable.name, &variable.value, variable.secret)
    };
    weir_api::Variable {
        name: variable.name.to_string(),
        value: (!variable.secret).then(|| variable.value.clone()),
        secret: variable.secret,
        build: variable.build,
        live: live.is_some_and(|live| live.configuration.iter().any(same)),
        updated: instant(variable.updated_ms),
    }
}

/// A host name.
pub fn domain(context: &Context, domain: &Domain) -> weir_api::Domain {
    let now_ms = context.clock.now_ms();
    weir_api::Domain {
        host: domain.host.clone(),
        url: match &domain.tcp {
            Some(_) => context.config.tls_url_of(&domain.host),
            None => context.config.url_by(&context.certificates, &domain.host),
        },
        app: domain.app.as_ref().map(ToString::to_string),
        platform: domain.platform,
        redirect_to: domain.redirect_to.clone(),
        tcp: domain.tcp.as_ref().map(ToString::to_string),
        https_redirect: domain.https.redirect,
        hsts_s: domain.https.hsts_s,
        certificate: Some(certificates::present(&context.certificates, &domain.host, now_ms)),
    }
}

/// A task, with the names of what it is about.
pub async fn task(context: &Context, task: &Task) -> Result<weir_api::Task, ApiError> {
    // Also where the project is gone.
    let project = context.store.task_project_name(task.id).await?;
    let environment = match task.environment {
        Some(environment) => context.store.environment_by_id(environment).await?,
        None => None,
    };
    Ok(weir_api::Task {
        id: task.id.to_string(),
        kind: task.kind.as_str().to_owned(),
        project: project.unwrap_or_else(|| task.project.to_string()),
        environment: environment.map(|environment| environment.name.to_string()),
        title: task.title.clone(),
        state: task.state.as_str().to_owned(),
        step: task.step.clone(),
        error: task.error.clone(),
        created: instant(task.created_ms),
        ended: task.ended_ms.map(instant),
    })
}

/// A line of a task.
pub fn task_line(line: &TaskLine) -> weir_api::TaskLine {
    weir_api::TaskLine {
        sequence: line.sequence,
        at: instant(line.at_ms),
        kind: line.kind.as_str().to_owned(),
        text: line.text.clone(),
    }
}

/// The word for who wrote a line.
pub fn log_stream(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
        LogStream::Weir => "weir",
    }
}

/// A line of a log.
pub fn log_line(found: &Found) -> weir_api::LogLine {
    let line = &found.line;
    weir_api::LogLine {
        id: found.id.to_string(),
        at: instant(line.at_ms),
        app: line.app.to_string(),
        process: line.process.to_string(),
        instance: line.instance.map(|instance| instance.to_string()),
        stream: log_stream(line.stream).to_owned(),
        text: line.text.clone(),
    }
}

/// A change of state.
pub fn change(change: &Change) -> weir_api::Change {
    weir_api::Change {
        sequence: change.sequence,
        at: instant(change.at_ms),
        project: change.project.clone(),
        environment: change.environment.clone(),
        kind: change.kind.clone(),
        message: change.message.clone(),
    }
}

/// A token without its secret.
pub async fn token(context: &Context, token: &Token) -> Result<weir_api::Token, ApiError> {
    let project = match token.project {
        Some(project) => context
            .store
            .project_by_id(project)
            .await?
            .map(|project| project.name.to_string()),
        None => None,
    };
    Ok(token_of(token, project))
}

/// A token, of a project by name.
pub fn token_of(token: &Token, project: Option<String>) -> weir_api::Token {
    weir_api::Token {
        id: token.id.to_string(),
        name: token.name.clone(),
        scope: token.scope.as_str().to_owned(),
        project,
        created: instant(token.created_ms),
        expires: token.expires_ms.map(instant),
        last_used: token.used_ms.map(instant),
        service_account: token.service_account.map(|id| id.to_string()),
        secret: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_rfc_3339_with_milliseconds() {
        assert_eq!(instant(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(instant(1_700_000_000_120), "2023-11-14T22:13:20.120Z");
    }
}
