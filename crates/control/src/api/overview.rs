//! All that runs, on one page. What thousands of environments have is read in a few queries, and once
//! for everybody who looks: what somebody may not see is left out afterwards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use weir_api::{CapStanding, Instance, Overview, OverviewEnvironment, OverviewMoney, ProcessStatus, Trouble};
use weir_engine::InstanceRole;
use weir_ledger::forecast::Load;
use weir_model::deployment::Deployment;
use weir_model::policy::{Permission, Place, Rights};
use weir_model::project::{Domain, Environment, EnvironmentMode, Project, Scale};
use weir_model::release::Release;
use weir_model::{DeploymentId, EnvironmentId, ProjectId, ReleaseId, UnixMillis};
use weir_store::Account;

use super::Api;
use super::auth::Caller;
use super::caps;
use super::error::ApiError;
use super::live::Topic;
use super::present::instant;
use crate::context::Context;
use crate::hosts::platform_host;
use crate::reconcile::{InstanceView, Rate};
use crate::{guarding, status, worst_case};

/// Most troubles that are shown.
const TROUBLES: usize = 20;
/// A cap that is reached within this time is told of.
const SOON_MS: i64 = 86_400_000;
/// A runaway is told of for so long.
const RUNAWAY_MS: i64 = 3_600_000;

/// All that runs, on one page.
#[utoipa::path(get, path = "/v1/overview", tag = "live", responses((status = 200, body = Overview)))]
pub(super) async fn get_overview(State(api): State<Api>, caller: Caller) -> Result<Response, ApiError> {
    let shown = api.live.now(&api.context, Topic::Overview, &caller.rights).await?;
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    Ok((json, shown.to_string()).into_response())
}

/// Releases that are in use, without their variables: they never change, so each is read once.
#[derive(Debug, Default)]
pub(super) struct Releases(Mutex<HashMap<ReleaseId, Arc<Release>>>);

impl Releases {
    async fn of(
        &self,
        context: &Context,
        wanted: &HashSet<ReleaseId>,
    ) -> Result<HashMap<ReleaseId, Arc<Release>>, ApiError> {
        let mut found = self.lock().clone();
        found.retain(|release, _| wanted.contains(release));
        for id in wanted {
            if found.contains_key(id) {
                continue;
            }
            if let Some(mut release) = context.store.release_by_id(*id).await? {
                release.configuration = Vec::new();
                found.insert(*id, Arc::new(release));
            }
        }
        // What is not in use any more is forgotten, so that this is no more than there are environments.
        self.lock().clone_from(&found);
        Ok(found)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ReleaseId, Arc<Release>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All accounts, projects and environments, with what serves in them or is on its way.
#[derive(Debug)]
pub(super) struct Inventory {
    pub(super) accounts: Vec<Account>,
    pub(super) projects: Vec<Project>,
    environments: BTreeMap<ProjectId, Vec<Environment>>,
    live: HashMap<DeploymentId, Deployment>,
    /// Under way, oldest first.
    coming: HashMap<EnvironmentId, Vec<Deployment>>,
    releases: HashMap<ReleaseId, Arc<Release>>,
    scales: HashMap<EnvironmentId, Vec<Scale>>,
}

impl Inventory {
    /// Reads them.
    pub(super) async fn read(context: &Context, releases: &Releases) -> Result<Self, ApiError> {
        let store = &context.store;
        let mut environments: BTreeMap<ProjectId, Vec<Environment>> = BTreeMap::new();
        for environment in store.environment_list_all().await? {
            environments.entry(environment.project).or_default().push(environment);
        }
        let live = store.deployment_list_live().await?.into_iter();
        let live: HashMap<_, _> = live.map(|deployment| (deployment.id, deployment)).collect();
        let mut coming: HashMap<EnvironmentId, Vec<Deployment>> = HashMap::new();
        for deployment in store.deployment_list_in_progress_all().await? {
            coming.entry(deployment.environment).or_default().push(deployment);
        }
        let mut scales: HashMap<EnvironmentId, Vec<Scale>> = HashMap::new();
        for (environment, scale) in store.scale_list_all().await? {
            scales.entry(environment).or_default().push(scale);
        }
        let last = coming.values().filter_map(|deployments| deployments.last());
        let wanted = live.values().chain(last).map(|deployment| deployment.release).collect();
        Ok(Self {
            accounts: store.account_list().await?,
            projects: store.project_list().await?,
            environments,
            releases: releases.of(context, &wanted).await?,
            live,
            coming,
            scales,
        })
    }

    /// The environments of a project, oldest first.
    pub(super) fn environments_of(&self, project: ProjectId) -> impl Iterator<Item = &Environment> {
        self.environments.get(&project).into_iter().flatten()
    }

    fn live(&self, environment: &Environment) -> Option<&Deployment> {
        self.live.get(&environment.live?)
    }

    /// The release that serves, or else the one that is being deployed.
    fn newest(&self, environment: &Environment) -> Option<&Arc<Release>> {
        let coming = || {
            self.coming
                .get(&environment.id)
                .and_then(|deployments| deployments.last())
        };
        let deployment = self.live(environment).or_else(coming)?;
        self.releases.get(&deployment.release)
    }

    fn scales(&self, environment: EnvironmentId) -> &[Scale] {
        self.scales.get(&environment).map_or(&[], Vec::as_slice)
    }

    /// What the instances of an environment may use, as far as they are asked for.
    pub(super) fn loads(&self, environment: &Environment) -> Vec<Load> {
        match self.newest(environment) {
            Some(release) if environment.mode == EnvironmentMode::Active => {
                worst_case::loads(release, self.scales(environment.id))
            }
            _ => Vec::new(),
        }
    }
}

/// The overview of everything, from which each gets what they may see.
#[derive(Debug)]
pub(super) struct Everything {
    environments: Vec<Row>,
    accounts: Vec<(Place, CapStanding)>,
    troubles: Vec<Found>,
}

/// An environment, with its money under each cap above it.
#[derive(Debug)]
struct Row {
    place: Place,
    /// Without its money.
    environment: OverviewEnvironment,
    /// The cap nearest above it first, without any last; each with where it may be seen.
    money: Vec<(Place, OverviewMoney)>,
}

impl Row {
    fn seen_by(&self, rights: &Rights) -> OverviewEnvironment {
        let sees = |place| rights.may(Permission::SeeMoney, place);
        let mut seen = self.money.iter().filter(|(place, _)| sees(*place));
        OverviewEnvironment {
            money: seen.next().map(|(_, money)| money.clone()).filter(|_| sees(self.place)),
            ..self.environment.clone()
        }
    }
}

#[derive(Debug)]
struct Found {
    place: Place,
    /// What is needed to be told of it.
    permission: Permission,
    trouble: Trouble,
}

impl Everything {
    /// Looks at everything.
    pub(super) async fn look(context: &Context, releases: &Releases) -> Result<Self, ApiError> {
        let inventory = Inventory::read(context, releases).await?;
        let failed = context.store.deployment_list_failed_last().await?.into_iter();
        let failed: HashMap<_, _> = failed.map(|deployment| (deployment.environment, deployment)).collect();
        let caps = caps::all(context, &inventory);
        let mut look = Look {
            context,
            inventory: &inventory,
            failed,
            caps: caps.iter().map(|(_, row)| (row.scope.as_str(), row)).collect(),
            now_ms: context.clock.now_ms(),
            troubles: Vec::new(),
        };
        let environments = look.environments();
        look.soon(&caps);
        look.certificates(&context.store.domain_list_all().await?);
        let mut troubles = look.troubles;
        troubles.sort_by(|a, b| worse(&a.trouble, &b.trouble));
        let accounts = caps.into_iter().filter(|(place, _)| matches!(place, Place::Account(_)));
        Ok(Self {
            environments,
            accounts: accounts.collect(),
            troubles,
        })
    }

    /// What somebody may see of it.
    pub(super) fn seen_by(&self, rights: &Rights) -> Overview {
        let environments = self
            .environments
            .iter()
            .filter(|row| rights.may(Permission::See, row.place))
            .map(|row| row.seen_by(rights));
        let accounts = self
            .accounts
            .iter()
            .filter(|(place, _)| rights.may(Permission::SeeMoney, *place));
        let troubles = self
            .troubles
            .iter()
            .filter(|found| rights.may(found.permission, found.place));
        Overview {
            environments: environments.collect(),
            accounts: accounts.map(|(_, row)| row.clone()).collect(),
            troubles: troubles.take(TROUBLES).map(|found| found.trouble.clone()).collect(),
        }
    }
}

/// Errors first, then what is newest.
fn worse(a: &Trouble, b: &Trouble) -> std::cmp::Ordering {
    let since = |trouble: &Trouble| trouble.since.clone().unwrap_or_default();
    a.severity.cmp(&b.severity).then_with(|| since(b).cmp(&since(a)))
}

/// Everything, while it is looked at.
struct Look<'a> {
    context: &'a Context,
    inventory: &'a Inventory,
    failed: HashMap<EnvironmentId, Deployment>,
    /// How scopes stand, by name.
    caps: HashMap<&'a str, &'a CapStanding>,
    now_ms: UnixMillis,
    troubles: Vec<Found>,
}

impl Look<'_> {
    /// All environments, by name.
    fn environments(&mut self) -> Vec<Row> {
        let rates = self.context.reconciler.rates(self.now_ms);
        let mut rows = Vec::new();
        for project in &self.inventory.projects {
            for environment in self.inventory.environments_of(project.id) {
                let rate = rates.get(&environment.id).copied().unwrap_or_default();
                let place = Place::Environment(project.account, project.id, environment.id);
                let stopped = self.context.money.stopped(environment.id).is_some();
                rows.push(Row {
                    place,
                    environment: self.environment(project, environment, place, rate),
                    money: self.money(project, environment, stopped),
                });
            }
        }
        let name = |row: &Row| (row.environment.project.clone(), row.environment.environment.clone());
        rows.sort_by_cached_key(name);
        rows
    }

    fn environment(
        &mut self,
        project: &Project,
        environment: &Environment,
        place: Place,
        rate: Rate,
    ) -> OverviewEnvironment {
        let inventory = self.inventory;
        let live = inventory.live(environment);
        let views = status::instances_of(self.context, environment);
        let processes = self.processes(environment, &views);
        let coming = inventory.coming.get(&environment.id).map_or(&[][..], Vec::as_slice);
        // A canary may stay for days; what serves is as well as ever meanwhile.
        let deploying = coming.iter().any(|deployment| !deployment.is_resting_canary());
        let failed = self.failed.get(&environment.id);
        let (health, detail) = status::health_of(environment, &processes, deploying, failed);
        let at = |kind: &str, severity: &str, message: String, since_ms: Option<UnixMillis>| Found {
            place,
            permission: Permission::See,
            trouble: Trouble {
                severity: severity.to_owned(),
                kind: kind.to_owned(),
                project: project.name.to_string(),
                environment: Some(environment.name.to_string()),
                message,
                since: since_ms.map(instant),
            },
        };
        if let ("crashed" | "degraded", Some(detail)) = (health, &detail) {
            let severity = if health == "crashed" { "error" } else { "warning" };
            let short = views
                .iter()
                .filter(|view| !matches!(view.state, "ready" | "asleep" | "draining" | "frozen"));
            let since_ms = short.map(|view| view.started_ms).min();
            self.troubles.push(at(health, severity, detail.clone(), since_ms));
        }
        if let Some(failed) = failed {
            let reason = failed.reason.as_deref().unwrap_or("it says no reason");
            let message = format!("the newest deployment failed: {reason}");
            let severity = if live.is_some() { "warning" } else { "error" };
            self.troubles
                .push(at("deployment-failed", severity, message, Some(failed.entered_ms)));
        }
        let stopped = self.context.money.stopped(environment.id);
        if let Some(reason) = stopped {
            let words = crate::reconcile::words(reason, project.name.as_str(), environment.name.as_str());
            self.troubles.push(at("stopped", "error", words, None));
        }
        let trips = self.context.reconciler.trips(environment.id);
        let newest = trips
            .iter()
            .filter(|trip| self.now_ms - trip.at_ms < RUNAWAY_MS)
            .max_by_key(|trip| trip.at_ms);
        if let Some(trip) = newest {
            let severity = if trip.refused { "error" } else { "warning" };
            self.troubles
                .push(at("runaway", severity, guarding::words(trip), Some(trip.at_ms)));
        }
        OverviewEnvironment {
            project: project.name.to_string(),
            environment: environment.name.to_string(),
            url: self
                .context
                .config
                .url_of(&platform_host(&self.context.config, &project.name, &environment.name)),
            health: health.to_owned(),
            detail,
            release: live
                .and_then(|live| inventory.releases.get(&live.release))
                .map(|release| release.number),
            released: live.map(|live| instant(live.entered_ms)),
            ready: processes.iter().map(|process| process.ready).sum(),
            wanted: processes.iter().map(|process| process.wanted).sum(),
            requests_per_s: rate.requests,
            errors_per_s: rate.errors,
            money: None,
        }
    }

    /// What runs of each process, as far as its health goes.
    fn processes(&self, environment: &Environment, views: &[InstanceView]) -> Vec<ProcessStatus> {
        let Some(release) = self.inventory.newest(environment) else {
            return Vec::new();
        };
        let scales = self.inventory.scales(environment.id);
        let mut processes = Vec::new();
        for (app, release_app) in &release.apps {
            for process in release_app.spec.processes.keys() {
                let mut told = status::process_status(self.context, environment, release_app, app, process, scales);
                let own = views.iter().filter(|view| {
                    view.labels.role == InstanceRole::Instance
                        && (&view.labels.app, &view.labels.process) == (app, process)
                });
                for view in own {
                    let serves = view.labels.release == release.id;
                    told.ready += u32::from(serves && matches!(view.state, "ready" | "asleep"));
                    told.instances
                        .push(short(view, if serves { release.number } else { 0 }));
                }
                processes.push(told);
            }
        }
        processes
    }

    fn money(&self, project: &Project, environment: &Environment, stopped: bool) -> Vec<(Place, OverviewMoney)> {
        let row = |scope: &str| self.caps.get(scope).copied();
        let Some(own) = row(&format!("{}/{}", project.name, environment.name)) else {
            return Vec::new();
        };
        let mut accounts = self.inventory.accounts.iter();
        let account = accounts.find(|account| account.id == project.account);
        let account = account.and_then(|account| row(&format!("account:{}", account.name)));
        let place = Place::Environment(project.account, project.id, environment.id);
        let path = [
            (place, Some(own)),
            (Place::Project(project.account, project.id), row(project.name.as_str())),
            (Place::Account(project.account), account),
        ];
        let bounds = path.into_iter().filter_map(|(place, row)| Some((place, row?)));
        let bounds = bounds.filter(|(_, row)| row.cap.is_some());
        let money = |bound: &CapStanding| OverviewMoney {
            currency: own.currency.clone(),
            scope: bound.scope.clone(),
            spent: bound.settled.clone(),
            limit: bound.limit.clone(),
            period: bound.cap.as_ref().map(|cap| cap.period.clone()),
            burn_per_hour: own.burn_per_hour.clone(),
            reached: bound.reached.clone(),
            stopped,
        };
        let all = bounds.chain(std::iter::once((place, own)));
        all.map(|(place, row)| (place, money(row))).collect()
    }

    /// Caps that are reached soon at the present pace.
    fn soon(&mut self, caps: &[(Place, CapStanding)]) {
        let limit = instant(self.now_ms + SOON_MS);
        for (place, row) in caps {
            let (Some(reached), Some(_), None) = (&row.reached, &row.cap, &row.stopped) else {
                continue;
            };
            if *reached > limit || row.kind == "account" {
                continue;
            }
            let (project, environment) = match row.scope.split_once('/') {
                Some((project, environment)) => (project, Some(environment.to_owned())),
                None => (row.scope.as_str(), None),
            };
            self.troubles.push(Found {
                place: *place,
                permission: Permission::SeeMoney,
                trouble: Trouble {
                    severity: "warning".to_owned(),
                    kind: "cap-soon".to_owned(),
                    project: project.to_owned(),
                    environment,
                    message: format!("at the present pace the cap of {} is reached at {reached}", row.scope),
                    since: None,
                },
            });
        }
    }

    /// Host names of one's own that get no certificate.
    fn certificates(&mut self, domains: &[Domain]) {
        let inventory = self.inventory;
        let by_id: HashMap<EnvironmentId, (&Project, &Environment)> = inventory
            .projects
            .iter()
            .flat_map(|project| {
                inventory
                    .environments_of(project.id)
                    .map(move |it| (it.id, (project, it)))
            })
            .collect();
        for domain in domains.iter().filter(|domain| !domain.platform) {
            let Some((project, environment)) = by_id.get(&domain.environment) else {
                continue;
            };
            let told = crate::certificates::present(&self.context.certificates, &domain.host, self.now_ms);
            let severity = match told.state.as_str() {
                "failing" => "error",
                "limited" => "warning",
                "valid" if told.detail.starts_with("its renewal fails") => "warning",
                _ => continue,
            };
            self.troubles.push(Found {
                place: Place::Environment(project.account, project.id, environment.id),
                permission: Permission::See,
                trouble: Trouble {
                    severity: severity.to_owned(),
                    kind: "certificate".to_owned(),
                    project: project.name.to_string(),
                    environment: Some(environment.name.to_string()),
                    message: format!("the certificate of {}: {}", domain.host, told.detail),
                    since: None,
                },
            });
        }
    }
}

/// An instance, as far as health goes by it.
fn short(view: &InstanceView, release: i64) -> Instance {
    Instance {
        id: view.labels.instance.to_string(),
        release,
        state: view.state.to_owned(),
        reason: view.reason.clone(),
        started: instant(view.started_ms),
        crashes: view.crashes,
        background: None,
        last_lines: Vec::new(),
    }
}
