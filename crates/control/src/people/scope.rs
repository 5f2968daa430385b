//! Scopes as people write them: `weir`, `account:default`, `shop`, `shop/staging`.

use std::collections::BTreeMap;

use weir_model::policy::{Place, Reach, Rights};
use weir_model::project::{Environment, Project};
use weir_model::{AccountId, EnvironmentId, ProjectId};
use weir_store::Account;

use crate::api::{ApiError, scopes};
use crate::context::Context;
use crate::projects;

/// The name of the whole.
pub(crate) const ALL: &str = "weir";

/// Names of everything that a role can be for.
#[derive(Debug)]
pub(crate) struct Scopes {
    accounts: BTreeMap<AccountId, Account>,
    projects: BTreeMap<ProjectId, Project>,
    environments: BTreeMap<EnvironmentId, Environment>,
}

impl Scopes {
    /// Reads them.
    pub(crate) async fn of(context: &Context) -> Result<Self, ApiError> {
        let store = &context.store;
        let accounts = store.account_list().await?.into_iter();
        let projects = store.project_list().await?.into_iter();
        let environments = store.environment_list_all().await?.into_iter();
        Ok(Self {
            accounts: accounts.map(|account| (account.id, account)).collect(),
            projects: projects.map(|project| (project.id, project)).collect(),
            environments: environments.map(|environment| (environment.id, environment)).collect(),
        })
    }

    /// Where a role reaches to, and its name; `None` if that is gone.
    pub(crate) fn find(&self, reach: Reach) -> Option<(Place, String)> {
        Some(match reach {
            Reach::Platform => (Place::Platform, ALL.to_owned()),
            Reach::Account(id) => {
                let account = self.accounts.get(&id)?;
                (Place::Account(id), format!("account:{}", account.name))
            }
            Reach::Project(id) => {
                let project = self.projects.get(&id)?;
                (Place::Project(project.account, id), project.name.to_string())
            }
            Reach::Environment(id, environment) => {
                let project = self.projects.get(&id)?;
                let found = self.environments.get(&environment)?;
                (
                    Place::Environment(project.account, id, environment),
                    format!("{}/{}", project.name, found.name),
                )
            }
        })
    }

    /// Names of the projects of an account.
    pub(crate) fn projects_of(&self, account: AccountId) -> impl Iterator<Item = &str> {
        let own = self.projects.values().filter(move |project| project.account == account);
        own.map(|project| project.name.as_str())
    }

    /// Reads a scope. Fails with the 404 of what is not there, which is also told to those who may not
    /// know of it.
    pub(crate) fn parse(&self, text: &str) -> Result<Place, ApiError> {
        if text == ALL {
            return Ok(Place::Platform);
        }
        if let Some(name) = text.strip_prefix("account:") {
            let found = self.accounts.values().find(|account| account.name == name);
            return found
                .map(|account| Place::Account(account.id))
                .ok_or_else(|| scopes::no_such_account(name));
        }
        let (name, environment) = match text.split_once('/') {
            Some((name, environment)) => (name, Some(environment)),
            None => (text, None),
        };
        let project = self.projects.values().find(|project| project.name.as_str() == name);
        let project = project.ok_or_else(|| projects::no_such_project(name))?;
        let Some(environment) = environment else {
            return Ok(Place::Project(project.account, project.id));
        };
        let mut environments = self.environments.values();
        let found = environments.find(|found| found.project == project.id && found.name.as_str() == environment);
        found
            .map(|found| Place::Environment(project.account, project.id, found.id))
            .ok_or_else(|| projects::no_such_environment(&project.name, environment))
    }

    /// What is told to those who may not know of a scope, or of which it does not exist: the two look the
    /// same. Who knows the project learns that it has no such environment, and nothing of its others.
    pub(crate) fn missing(&self, rights: &Rights, text: &str) -> ApiError {
        if let Some(name) = text.strip_prefix("account:") {
            return scopes::no_such_account(name);
        }
        let Some((name, environment)) = text.split_once('/') else {
            return projects::no_such_project(text);
        };
        let mut projects = self.projects.values();
        let known = projects
            .find(|project| project.name.as_str() == name && rights.knows(Place::Project(project.account, project.id)));
        match known {
            Some(project) => projects::no_such_environment(&project.name, environment),
            None => projects::no_such_project(name),
        }
    }
}

/// Where a role reaches to, and its name; `None` if that is gone.
pub(crate) async fn place_of(context: &Context, reach: Reach) -> Result<Option<(Place, String)>, ApiError> {
    Ok(Scopes::of(context).await?.find(reach))
}
