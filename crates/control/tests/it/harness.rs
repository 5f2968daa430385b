//! A control in this process: a temporary folder, SQLite, the simulated engine, port 0.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use weir_control::clock::{Clock, SystemClock};
use weir_control::{Config, Context, api};
use weir_engine::sim::SimEngine;
use weir_model::deployment::{Deployment, DeploymentKind, DeploymentState};
use weir_model::project::{Environment, Project};
use weir_model::release::{Release, ReleaseApp, ReleaseSource};
use weir_model::spec::{AppSpec, ProcessSpec, VolumeSpec, Writers};
use weir_model::task::TaskKind;
use weir_model::{AppName, DeploymentId, EnvironmentName, ProcessName, ProjectName, ReleaseId, VolumeName};

pub(crate) struct Control {
    pub(crate) context: Context,
    pub(crate) address: String,
    pub(crate) admin: String,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) engine: SimEngine,
    client: reqwest::Client,
}

pub(crate) fn config(data: PathBuf) -> Config {
    Config {
        control: "127.0.0.1:8081".parse().unwrap(),
        http: "127.0.0.1:8080".parse().unwrap(),
        https: None,
        domain: "localhost".to_owned(),
        database: format!("sqlite:{}", data.join("weir.db").display()),
        ca_bundle: None,
        executable: PathBuf::from("/bin/true"),
        concurrent_builds: 1,
        log_bytes_per_app: 1 << 20,
        build_cache_bytes: 1 << 30,
        disk_reserve_bytes: 1 << 30,
        releases_kept: 10,
        keep_previous_s: 600,
        smtp: None,
        dns_hook: None,
        tcp_ports: None,
        trusted_proxies: Vec::new(),
        proxy_header: weir_model::proxy::ProxyHeader::Either,
        data,
    }
}

/// Opens control on a folder and serves its API; gives its address.
pub(crate) async fn serve_in(folder: &Path) -> (Context, String, SimEngine) {
    serve_by(config(folder.to_owned()), Arc::new(SystemClock)).await
}

async fn serve_by(config: Config, clock: Arc<dyn Clock>) -> (Context, String, SimEngine) {
    std::fs::create_dir_all(config.repositories()).unwrap();
    let store = weir_store::Store::open(&config.database).await.unwrap();
    let engine = SimEngine::new(7);
    engine.follow_tokio();
    let context = weir_control::serve::open(
        config,
        store,
        Arc::new(engine.clone()),
        Arc::new(engine.clone()),
        clock,
        CancellationToken::new(),
    )
    .await
    .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = api::router(context.clone()).into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (context, address, engine)
}

impl Control {
    pub(crate) async fn start() -> Self {
        Self::start_by(Arc::new(SystemClock)).await
    }

    /// With a clock of the test's own.
    pub(crate) async fn start_by(clock: Arc<dyn Clock>) -> Self {
        Self::start_with(clock, |_| {}).await
    }

    /// With a proxy on this machine that is believed: `x-forwarded-for` says who asks.
    pub(crate) async fn start_behind_a_proxy(clock: Arc<dyn Clock>) -> Self {
        let trust = |config: &mut Config| config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        Self::start_with(clock, trust).await
    }

    async fn start_with(clock: Arc<dyn Clock>, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path().to_owned());
        change(&mut config);
        let (context, address, engine) = serve_by(config, clock).await;
        let admin = std::fs::read_to_string(folder.path().join("admin-token"))
            .unwrap()
            .trim()
            .to_owned();
        Self {
            context,
            address,
            admin,
            folder,
            engine,
            client: reqwest::Client::new(),
        }
    }

    /// Serves with another configuration from now on.
    pub(crate) async fn restrict(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = (*self.context.config).clone();
        change(&mut config);
        self.context.config = Arc::new(config);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.address = format!("http://{}", listener.local_addr().unwrap());
        let router = api::router(self.context.clone()).into_make_service_with_connect_info::<std::net::SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address))
    }

    pub(crate) fn as_admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(&self.admin)
    }

    /// Sends as admin; gives status and JSON.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.as_admin(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    pub(crate) async fn project(&self, name: &str) -> Project {
        let (status, body) = self
            .call(Method::POST, "/v1/projects", Some(json!({"name": name})))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        self.context
            .store
            .project_by_name(&ProjectName::new(name).unwrap())
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn production(&self, project: &Project) -> Environment {
        let name = EnvironmentName::production();
        self.context
            .store
            .environment_by_name(project.id, &name)
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn token(&self, scope: &str, project: Option<&str>) -> String {
        let body = json!({"name": format!("{scope} token"), "scope": scope, "project": project});
        let (status, body) = self.call(Method::POST, "/v1/tokens", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["secret"].as_str().unwrap().to_owned()
    }

    /// Makes a release live as if it had been deployed: an app of the project's name with `web`
    /// and `worker`, and one `data` with a volume that admits one writer.
    pub(crate) async fn live(&self, project: &Project) -> (Release, Deployment) {
        let context = &self.context;
        let environment = self.production(project).await;
        let now_ms = context.clock.now_ms();
        let mut apps = BTreeMap::new();
        apps.insert(
            AppName::new(project.name.as_str()).unwrap(),
            app(project.name.as_str(), &["web", "worker"]),
        );
        let mut data = app("data", &["store"]);
        let volume = VolumeSpec {
            path: "/data".to_owned(),
            writers: Writers::One,
        };
        data.spec.volumes.insert(VolumeName::new("data").unwrap(), volume);
        apps.insert(AppName::new("data").unwrap(), data);
        let mut release = Release {
            id: ReleaseId::from_parts(now_ms, context.clock.random()),
            environment: environment.id,
            number: 0,
            apps,
            configuration: Vec::new(),
            configuration_version: 0,
            source: ReleaseSource::Upload {
                message: "first".to_owned(),
            },
            created_ms: now_ms,
        };
        let task = context
            .tasks
            .create(TaskKind::Push, project.id, Some(environment.id), "push")
            .await
            .unwrap();
        let deployment = Deployment {
            id: DeploymentId::from_parts(now_ms, context.clock.random()),
            environment: environment.id,
            release: release.id,
            kind: DeploymentKind::Release,
            task: task.id,
            state: DeploymentState::Switching,
            reason: None,
            canary: None,
            created_ms: now_ms,
            entered_ms: now_ms,
        };
        release.number = context.store.release_insert(&release, Some(&deployment)).await.unwrap();
        assert!(
            context
                .store
                .deployment_go_live(deployment.id, now_ms, now_ms)
                .await
                .unwrap()
        );
        context
            .tasks
            .end(task.id, weir_model::task::TaskState::Done, None)
            .await;
        (release, deployment)
    }
}

/// The image of every app of the harness.
pub(crate) fn image() -> String {
    format!("sha256:{}", "0".repeat(64))
}

fn app(name: &str, processes: &[&str]) -> ReleaseApp {
    let processes = processes
        .iter()
        .map(|name| (ProcessName::new(name).unwrap(), ProcessSpec::default()));
    ReleaseApp {
        image: image(),
        spec: AppSpec {
            name: AppName::new(name).unwrap(),
            processes: processes.collect(),
            release: None,
            volumes: BTreeMap::new(),
            routes: Vec::new(),
            variables: BTreeMap::new(),
            drain_s: 30,
            protection: weir_model::protection::ProtectionSpec::default(),
            classes: BTreeMap::new(),
            access_log: weir_model::access_log::AccessLogging::Off,
            cache: weir_model::cache::CacheSpec::default(),
            tcp: Vec::new(),
        },
    }
}

/// Sends; gives status and JSON (null where there is none).
pub(crate) async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}
