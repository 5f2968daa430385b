//! What those who watch over apps are told, in the text format of Prometheus: what the node has
//! counted of requests, and what control knows of instances, certificates, caps and deployments.
//!
//! Nothing is kept for it: each question is answered from what is there. Everybody is told of what
//! they may see.

pub mod history;
mod ingress;
mod text;

use std::collections::{BTreeMap, HashMap};

use weir_ledger::Nano;
use weir_ledger::book::Scope;
use weir_model::deployment::DeploymentState;
use weir_model::policy::{Permission, Place, Rights};
use weir_model::project::{Environment, Project};
use weir_model::{AccountId, EnvironmentId, ProjectId};

use crate::api::ApiError;
use crate::context::Context;
use text::{Kind, Text};

/// Deployments that are looked through for the one that is live.
const DEPLOYMENTS: i64 = 20;

/// What the one who asks may see.
struct View {
    context: Context,
    /// Those of all projects, or of one.
    environments: HashMap<EnvironmentId, Seen>,
    projects: BTreeMap<ProjectId, Project>,
    /// The whole Weir.
    everything: bool,
    rights: Rights,
}

/// An environment, by name.
struct Seen {
    project: String,
    environment: Environment,
}

/// What is known now, of what may be seen, as it is asked for by `Accept`, with its media type.
pub async fn asked(context: &Context, rights: &Rights, accept: &str) -> Result<(&'static str, String), ApiError> {
    let text = text(context, rights).await?;
    Ok(match text::wants_open_metrics(accept) {
        true => (text::OPEN_METRICS, text::as_open_metrics(&text)),
        false => (text::CONTENT_TYPE, text),
    })
}

async fn text(context: &Context, rights: &Rights) -> Result<String, ApiError> {
    let view = View::new(context, rights).await?;
    let mut text = Text::default();
    text.family("weir_build_info", Kind::Gauge, "1, with the version of Weir.");
    text.sample("weir_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    ingress::write(&view, &mut text).await;
    view.instances(&mut text);
    view.used(&mut text);
    view.deployments(&mut text).await?;
    view.caps(&mut text).await?;
    view.certificates(&mut text).await?;
    Ok(text.into_string())
}

impl View {
    async fn new(context: &Context, rights: &Rights) -> Result<Self, ApiError> {
        let projects = context.store.project_list().await?.into_iter();
        let projects: BTreeMap<ProjectId, Project> = projects
            .filter(|project| rights.knows(Place::Project(project.account, project.id)))
            .map(|project| (project.id, project))
            .collect();
        let mut environments = HashMap::new();
        for environment in context.store.environment_list_all().await? {
            if let Some(project) = projects.get(&environment.project) {
                let place = Place::Environment(project.account, project.id, environment.id);
                let project = project.name.to_string();
                if rights.may(Permission::See, place) {
                    environments.insert(environment.id, Seen { project, environment });
                }
            }
        }
        Ok(Self {
            context: context.clone(),
            environments,
            projects,
            everything: rights.may(Permission::See, Place::Platform),
            rights: rights.clone(),
        })
    }

    fn sees_money(&self, place: Place) -> bool {
        self.rights.may(Permission::SeeMoney, place)
    }

    /// Environments in the order of their names.
    fn in_order(&self) -> Vec<&Seen> {
        let mut all: Vec<&Seen> = self.environments.values().collect();
        all.sort_by_key(|seen| (seen.project.as_str(), seen.environment.name.as_str()));
        all
    }

    fn instances(&self, text: &mut Text) {
        const NAME: &str = "weir_instances";
        text.family(NAME, Kind::Gauge, "Instances by state.");
        for seen in self.in_order() {
            let mut states: BTreeMap<(String, String, &str), u64> = BTreeMap::new();
            for view in crate::status::instances_of(&self.context, &seen.environment) {
                let (app, process) = (view.labels.app.to_string(), view.labels.process.to_string());
                *states.entry((app, process, view.state)).or_default() += 1;
            }
            for ((app, process, state), number) in states {
                let own = [("app", app.as_str()), ("process", &process), ("state", state)];
                text.sample(NAME, &[&seen.labels()[..], &own].concat(), number);
            }
        }
    }

    /// What processes have used: the same figures as in the charts, summed up since control started.
    fn used(&self, text: &mut Text) {
        let currency = self.context.money.book().currency;
        let used = self.context.history.used().into_iter();
        let mut used: Vec<_> = used
            .filter_map(|used| Some((self.environments.get(&used.environment)?, used)))
            .collect();
        used.sort_by(|a, b| (a.0.labels(), &a.1.app, &a.1.process).cmp(&(b.0.labels(), &b.1.app, &b.1.process)));
        let sees_cost = |seen: &Seen| {
            let project = self.projects.get(&seen.environment.project);
            project.is_some_and(|project| {
                self.sees_money(Place::Environment(project.account, project.id, seen.environment.id))
            })
        };
        type Figure = fn(&history::Used) -> Option<String>;
        let figures: [(&str, Kind, &str, Figure); 4] = [
            (
                "weir_cpu_seconds_total",
                Kind::Counter,
                "CPU time of instances, in seconds of a core.",
                |it| Some(it.cpu_s.to_string()),
            ),
            (
                "weir_memory_bytes",
                Kind::Gauge,
                "Memory that instances have in use; absent where it cannot be read.",
                |it| it.memory_bytes.map(|bytes| bytes.to_string()),
            ),
            (
                "weir_egress_bytes_total",
                Kind::Counter,
                "Bytes sent to the world, as they are paid.",
                |it| Some(it.egress_bytes.to_string()),
            ),
            (
                "weir_spent_total",
                Kind::Counter,
                "What it has cost, in the currency; for showing only.",
                |it| Some(it.cost.to_string()),
            ),
        ];
        for (name, kind, help, figure) in figures {
            let is_money = name == "weir_spent_total";
            text.family(name, kind, help);
            for (seen, used) in used.iter().filter(|(seen, _)| !is_money || sees_cost(seen)) {
                let mut labels = seen.labels().to_vec();
                labels.extend([("app", used.app.as_str()), ("process", &used.process)]);
                labels.extend(is_money.then_some(("currency", currency.as_str())));
                if let Some(figure) = figure(used) {
                    text.sample(name, &labels, figure);
                }
            }
        }
    }

    async fn deployments(&self, text: &mut Text) -> Result<(), ApiError> {
        const NAME: &str = "weir_deployment_duration_seconds";
        const AT: &str = "weir_deployment_timestamp_seconds";
        let mut live = Vec::new();
        for seen in self.in_order() {
            let list = self
                .context
                .store
                .deployment_list(seen.environment.id, DEPLOYMENTS)
                .await?;
            let newest = list.into_iter().find(|it| it.state == DeploymentState::Live);
            live.extend(newest.map(|deployment| (seen, deployment)));
        }
        text.family(
            NAME,
            Kind::Gauge,
            "How long the deployment that is live took from being asked for to being live.",
        );
        for (seen, deployment) in &live {
            let took_ms = deployment.entered_ms.saturating_sub(deployment.created_ms);
            text.sample(NAME, &seen.labels(), in_seconds(took_ms));
        }
        text.family(AT, Kind::Gauge, "When the deployment that is live became so.");
        for (seen, deployment) in &live {
            text.sample(AT, &seen.labels(), in_seconds(deployment.entered_ms));
        }
        Ok(())
    }

    async fn caps(&self, text: &mut Text) -> Result<(), ApiError> {
        let currency = self.context.money.book().currency;
        let accounts = self.context.store.account_list().await?;
        let accounts: HashMap<AccountId, String> = accounts
            .into_iter()
            .filter(|account| self.sees_money(Place::Account(account.id)))
            .map(|account| (account.id, format!("account:{}", account.name)))
            .collect();
        let named = |scope: Scope| match scope {
            Scope::Account(account) => accounts.get(&account).cloned(),
            Scope::Project(project) => {
                let project = self.projects.get(&project)?;
                let place = Place::Project(project.account, project.id);
                self.sees_money(place).then(|| project.name.to_string())
            }
            Scope::Environment(environment) => {
                let seen = self.environments.get(&environment)?;
                let project = self.projects.get(&seen.environment.project)?;
                let place = Place::Environment(project.account, project.id, environment);
                let name = || format!("{}/{}", seen.project, seen.environment.name);
                self.sees_money(place).then(name)
            }
        };
        let standings = self.context.money.standings().into_iter();
        let mut standings: Vec<_> = standings.filter_map(|it| Some((named(it.scope)?, it))).collect();
        standings.sort_by(|a, b| a.0.cmp(&b.0));
        type Figure = fn(&weir_ledger::book::Standing) -> Option<Nano>;
        let figures: [(&str, &str, Figure); 3] = [
            (
                "weir_cap_limit",
                "Most that may be spent in the period, in the currency; absent without a cap.",
                |it| it.cap.is_some().then_some(it.limit),
            ),
            ("weir_cap_settled", "Spent in the period, in the currency.", |it| {
                Some(it.settled)
            }),
            ("weir_cap_held", "Held ahead in the period, in the currency.", |it| {
                Some(it.held)
            }),
        ];
        for (name, help, figure) in figures {
            text.family(name, Kind::Gauge, help);
            for (scope, standing) in &standings {
                if let Some(amount) = figure(standing) {
                    text.sample(name, &[("scope", scope.as_str()), ("currency", &currency)], amount);
                }
            }
        }
        Ok(())
    }

    async fn certificates(&self, text: &mut Text) -> Result<(), ApiError> {
        const NAME: &str = "weir_certificate_expiry_timestamp_seconds";
        let mut ends: BTreeMap<String, i64> = BTreeMap::new();
        for certificate in self.context.store.certificate_list().await? {
            for name in certificate.names {
                let end = ends.entry(name).or_default();
                *end = certificate.not_after_ms.max(*end);
            }
        }
        text.family(NAME, Kind::Gauge, "When the certificate of a host name ends.");
        if self.everything {
            for (name, end_ms) in &ends {
                text.sample(NAME, &[("host", name)], in_seconds(*end_ms));
            }
            return Ok(());
        }
        for domain in self.context.store.domain_list_all().await? {
            if !self.environments.contains_key(&domain.environment) {
                continue;
            }
            let shared = domain.host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
            let of = |name: &str| ends.get(name).copied();
            let end_ms = of(&domain.host).max(shared.as_deref().and_then(of));
            if let Some(end_ms) = end_ms {
                text.sample(NAME, &[("host", &domain.host)], in_seconds(end_ms));
            }
        }
        Ok(())
    }
}

impl Seen {
    fn labels(&self) -> [(&'static str, &str); 2] {
        [
            ("project", self.project.as_str()),
            ("environment", self.environment.name.as_str()),
        ]
    }
}

/// Milliseconds as seconds.
fn in_seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000))
}
