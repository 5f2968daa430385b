//! Nouns with sensible contents.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_model::certificate::HttpsPolicy;
use weir_model::deployment::{Deployment, DeploymentKind, DeploymentState};
use weir_model::project::{Domain, Environment, EnvironmentMode, Project, Scope, Token, Variable};
use weir_model::release::{Release, ReleaseApp, ReleaseSource};
use weir_model::spec::{AppSpec, ProcessSpec};
use weir_model::task::{Task, TaskKind, TaskState};
use weir_model::{
    AppName, DeploymentId, DomainId, EnvironmentId, EnvironmentName, ProcessName, ProjectId, ProjectName, ReleaseId,
    TaskId, TokenId, VariableName,
};
use weir_store::Store;

/// A new number each time, and the time of what is made with it.
fn next() -> (i64, u128) {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    (1_000_000 + i64::try_from(count).unwrap(), u128::from(count))
}

pub(crate) fn project(name: &str) -> Project {
    let (now_ms, random) = next();
    Project {
        id: ProjectId::from_parts(now_ms, random),
        account: weir_store::Account::default_id(),
        name: ProjectName::new(name).unwrap(),
        created_ms: now_ms,
        destroying: false,
    }
}

pub(crate) fn environment(project: ProjectId, name: &str, branch: Option<&str>) -> Environment {
    let (now_ms, random) = next();
    Environment {
        id: EnvironmentId::from_parts(now_ms, random),
        project,
        name: EnvironmentName::new(name).unwrap(),
        branch: branch.map(str::to_owned),
        mode: EnvironmentMode::Active,
        live: None,
        previous: None,
        previous_until_ms: 0,
        configuration_version: 0,
        created_ms: now_ms,
    }
}

pub(crate) fn domain(environment: EnvironmentId, host: &str) -> Domain {
    let (now_ms, random) = next();
    Domain {
        id: DomainId::from_parts(now_ms, random),
        environment,
        app: None,
        host: host.to_owned(),
        platform: true,
        redirect_to: None,
        tcp: None,
        https: HttpsPolicy::default(),
        created_ms: now_ms,
    }
}

pub(crate) fn token(secret_sha256: &str, project: Option<ProjectId>) -> Token {
    let (now_ms, random) = next();
    Token {
        id: TokenId::from_parts(now_ms, random),
        name: "laptop".to_owned(),
        secret_sha256: secret_sha256.to_owned(),
        scope: Scope::Deploy,
        project,
        created_ms: now_ms,
        expires_ms: Some(now_ms + 1),
        service_account: None,
        used_ms: None,
    }
}

pub(crate) fn variable(name: &str, value: &str) -> Variable {
    Variable {
        name: VariableName::new(name).unwrap(),
        value: value.to_owned(),
        secret: true,
        build: false,
        updated_ms: 7,
    }
}

pub(crate) fn release(environment: EnvironmentId) -> Release {
    let (now_ms, random) = next();
    let web = AppName::new("web").unwrap();
    let spec = AppSpec {
        name: web.clone(),
        processes: BTreeMap::from([(ProcessName::web(), ProcessSpec::default())]),
        release: None,
        volumes: BTreeMap::new(),
        routes: Vec::new(),
        variables: BTreeMap::from([("MOOD".to_owned(), "nul \0, quote ' and ünïcode".to_owned())]),
        drain_s: 30,
        protection: weir_model::protection::ProtectionSpec::default(),
        classes: BTreeMap::new(),
        access_log: weir_model::access_log::AccessLogging::Off,
        cache: weir_model::cache::CacheSpec::default(),
        tcp: Vec::new(),
    };
    Release {
        id: ReleaseId::from_parts(now_ms, random),
        environment,
        number: 0,
        apps: BTreeMap::from([(
            web,
            ReleaseApp {
                image: "sha256:12".to_owned(),
                spec,
            },
        )]),
        configuration: vec![variable("KEY", "sealed")],
        configuration_version: 3,
        source: ReleaseSource::Push {
            commit: "3f2a91c".to_owned(),
            branch: "main".to_owned(),
            message: "Say \"hello\"".to_owned(),
        },
        created_ms: now_ms,
    }
}

pub(crate) fn deployment(release: &Release) -> Deployment {
    let (now_ms, random) = next();
    Deployment {
        id: DeploymentId::from_parts(now_ms, random),
        environment: release.environment,
        release: release.id,
        kind: DeploymentKind::Release,
        task: TaskId::from_parts(now_ms, random),
        state: DeploymentState::Pending,
        reason: None,
        canary: None,
        created_ms: now_ms,
        entered_ms: now_ms,
    }
}

pub(crate) fn task(project: ProjectId, environment: Option<EnvironmentId>) -> Task {
    let (now_ms, random) = next();
    Task {
        id: TaskId::from_parts(now_ms, random),
        kind: TaskKind::Push,
        project,
        environment,
        title: "push of main 3f2a91c to shop".to_owned(),
        state: TaskState::Queued,
        step: String::new(),
        error: None,
        created_ms: now_ms,
        ended_ms: None,
    }
}

/// A project with its production environment and host name, written.
pub(crate) async fn house(store: &Store, name: &str) -> (Project, Environment) {
    let project = project(name);
    let production = environment(project.id, "production", Some("main"));
    let domain = domain(production.id, &format!("{name}.localhost"));
    store.project_insert(&project, &production, &[domain]).await.unwrap();
    (project, production)
}

/// A release with its deployment, written; the number is filled in.
pub(crate) async fn deploy(store: &Store, environment: EnvironmentId) -> (Release, Deployment) {
    let mut release = release(environment);
    let deployment = deployment(&release);
    release.number = store.release_insert(&release, Some(&deployment)).await.unwrap();
    (release, deployment)
}

/// Leads a deployment from the beginning to the switch.
pub(crate) async fn lead_to_switch(store: &Store, id: DeploymentId) {
    use DeploymentState::{Pending, Starting, Switching};
    assert!(store.deployment_advance(id, Pending, Starting, None, 1).await.unwrap());
    assert!(
        store
            .deployment_advance(id, Starting, Switching, None, 2)
            .await
            .unwrap()
    );
}
