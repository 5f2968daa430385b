//! Services that speak TCP: ports that stay, and domains that lead to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::json;
use weir_control::Config;
use weir_control::deploy::{DeployError, Wish, deploy};
use weir_model::deployment::{Deployment, DeploymentState};
use weir_model::files::{Detected, ProjectFile};
use weir_model::project::Project;
use weir_model::release::{Release, ReleaseApp, ReleaseSource};
use weir_model::task::TaskKind;
use weir_model::{AppName, ProcessName};

use crate::harness::{Control, image};

const DOMAINS: &str = "/v1/projects/shop/environments/production/domains";
const STATUS: &str = "/v1/projects/shop/environments/production";

fn service(name: &str, more: &str) -> String {
    format!("[[tcp]]\nname = \"{name}\"\nprocess = \"db\"\nport = 5432\n{more}\n")
}

async fn deploys(control: &Control, project: &Project, services: &str) -> Result<(Release, Deployment), String> {
    let context = &control.context;
    let environment = control.production(project).await;
    let name = AppName::new(project.name.as_str()).unwrap();
    let text = format!("[process.db]\ncommand = \"serve\"\n{services}");
    let file = ProjectFile::parse(&text).unwrap().apps(&name).remove(&name).unwrap();
    let detected = Detected {
        commands: BTreeMap::from([(ProcessName::web(), None)]),
        port: None,
    };
    let app = ReleaseApp {
        image: image(),
        spec: file.spec(name.clone(), &detected).unwrap(),
    };
    let task = context
        .tasks
        .create(TaskKind::Push, project.id, Some(environment.id), "push");
    let wish = Wish::Apps {
        apps: BTreeMap::from([(name, app)]),
        source: ReleaseSource::Upload {
            message: "a version".to_owned(),
        },
        canary: None,
    };
    let deployed = deploy(context, &environment, wish, task.await.unwrap().id).await;
    deployed.map_err(|error| match error {
        DeployError::Refused(words) => words,
        other => panic!("{other}"),
    })
}

async fn goes_live(control: &Control, deployment: &Deployment) {
    let store = &control.context.store;
    let (pending, switching) = (DeploymentState::Pending, DeploymentState::Switching);
    let advanced = store
        .deployment_advance(deployment.id, pending, switching, None, 8)
        .await;
    assert!(advanced.unwrap());
    assert!(store.deployment_go_live(deployment.id, 9, 9).await.unwrap());
}

async fn ports(control: &Control, project: &Project) -> Vec<(u16, String)> {
    let environment = control.production(project).await;
    let ports = control.context.store.tcp_port_list(environment.id).await.unwrap();
    ports.iter().map(|port| (port.port, port.service.to_string())).collect()
}

/// A control that gives out two ports.
async fn start() -> Control {
    let mut control = Control::start().await;
    let config = Config {
        tcp_ports: Some(20_000..=20_001),
        https: Some("127.0.0.1:8443".parse().unwrap()),
        ..(*control.context.config).clone()
    };
    control.context.config = Arc::new(config);
    control
}

#[tokio::test]
async fn a_service_keeps_its_port_over_deploys_and_a_failed_one_takes_nothing_away() {
    let control = start().await;
    let shop = control.project("shop").await;
    let (_, first) = deploys(&control, &shop, &service("db", "")).await.unwrap();
    goes_live(&control, &first).await;
    assert_eq!(ports(&control, &shop).await, [(20_000, "db".to_owned())]);
    deploys(&control, &shop, &service("db", "connections = 5"))
        .await
        .unwrap();
    assert_eq!(ports(&control, &shop).await, [(20_000, "db".to_owned())]);
    // Another port is there beside the one that serves, as long as that does.
    let (_, moved) = deploys(&control, &shop, &service("db", "listen = 20001"))
        .await
        .unwrap();
    let both = [(20_000, "db".to_owned()), (20_001, "db".to_owned())];
    assert_eq!(ports(&control, &shop).await, both);
    goes_live(&control, &moved).await;
    deploys(&control, &shop, &service("db", "listen = 20001"))
        .await
        .unwrap();
    let after = ports(&control, &shop).await;
    assert!(after.contains(&(20_001, "db".to_owned())), "{after:?}");
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_with_what_to_do() {
    let control = start().await;
    let (shop, mill) = (control.project("shop").await, control.project("mill").await);
    deploys(&control, &shop, &service("db", "listen = 20001"))
        .await
        .unwrap();
    let refused = async |services: &str| deploys(&control, &mill, services).await.unwrap_err();
    let taken = refused(&service("db", "listen = 20001")).await;
    assert!(
        taken.contains("20001 belongs to the TCP service `db` of `shop` in shop (production)"),
        "{taken}"
    );
    let outside = refused(&service("db", "listen = 5432")).await;
    assert!(
        outside.contains("cannot listen on port 5432: this Weir gives out 20000-20001"),
        "{outside}"
    );
    let full = refused(&(service("db", "") + &service("sql", ""))).await;
    assert!(
        full.contains("`sql`") && full.contains("all of 20000-20001 are taken"),
        "{full}"
    );
    assert_eq!(ports(&control, &mill).await, []);
    deploys(&control, &mill, &service("db", "tls = true")).await.unwrap();
    assert_eq!(ports(&control, &mill).await, []);

    let control = Control::start().await;
    let shop = control.project("shop").await;
    let none = deploys(&control, &shop, &service("db", "")).await.unwrap_err();
    assert!(
        none.contains("weir up --tcp-ports 20000-20999") && none.contains("tls = true"),
        "{none}"
    );
}

#[tokio::test]
async fn domains_lead_to_services_that_are_reached_by_tls() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let services = service("db", "tls = \"passthrough\"");
    let (_, first) = deploys(&control, &shop, &services).await.unwrap();
    goes_live(&control, &first).await;
    let put = async |host: &str, tcp: &str| {
        let body = json!({"hosts": [host], "tcp": tcp});
        control.call(Method::PUT, DOMAINS, Some(body)).await
    };
    let (status, answer) = put("db.example.org", "db").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let domain = &answer["domains"][0];
    assert_eq!(
        (&domain["tcp"], &domain["url"]),
        (&json!("db"), &json!("tls://db.example.org:443"))
    );
    let (status, refused) = put("sql.example.org", "sql").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert!(
        refused["detail"].as_str().unwrap().contains("there is: db"),
        "{refused}"
    );
    let (status, refused) = put("sql.example.org", "S Q L").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    let (_, shown) = control.call(Method::GET, STATUS, None).await;
    let processes = shown["processes"].as_array().unwrap();
    let db = processes.iter().find(|process| process["process"] == "db").unwrap();
    assert_eq!(
        (&db["tcp"][0]["name"], &db["tcp"][0]["tls"]),
        (&json!("db"), &json!("passthrough"))
    );
    // Back to HTTP.
    let (_, answer) = put("db.example.org", "").await;
    assert_eq!(answer["domains"][0]["tcp"], json!(null));
}
