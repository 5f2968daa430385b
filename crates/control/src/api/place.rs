//! What a request is about: from the parts of its path to a place, which rights are asked for.

use std::collections::{BTreeMap, HashMap};

use weir_model::policy::Place;
use weir_model::project::{Environment, Project};
use weir_model::{AccountId, EnvironmentId, EnvironmentName, ProjectId, ProjectName, TaskId, TokenId};
use weir_store::{Account, Contact};

use super::error::ApiError;
use super::guard::About;
use super::scopes;
use crate::context::Context;
use crate::{invoices, projects};

/// What a request is about, with what was looked up on the way.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// Where.
    pub(super) place: Place,
    /// Where, as people write it: `weir`, `account:default`, `shop`, `shop/staging`.
    pub(super) scope: String,
    pub(super) account: Option<Account>,
    pub(super) project: Option<Project>,
    pub(super) environment: Option<Environment>,
    /// Told to those who may not know that it exists.
    pub(super) missing: ApiError,
    /// It belongs to something that is gone; only who may do this everywhere finds it.
    pub(super) orphan: bool,
}

impl Subject {
    /// The whole Weir.
    pub(super) fn platform() -> Self {
        Self {
            place: Place::Platform,
            scope: "weir".to_owned(),
            account: None,
            project: None,
            environment: None,
            missing: ApiError::not_found("not-found", "there is no such thing"),
            orphan: false,
        }
    }

    fn at(place: Place, scope: String, missing: ApiError) -> Self {
        Self {
            place,
            scope,
            missing,
            ..Self::platform()
        }
    }
}

/// Looks up what the path names. Fails with the 404 that is told to everybody.
pub(super) async fn subject(
    context: &Context,
    about: About,
    path: &HashMap<String, String>,
) -> Result<Subject, ApiError> {
    let part = |name: &str| path.get(name).map_or("", String::as_str);
    match about {
        About::Platform | About::Somewhere => Ok(Subject::platform()),
        About::Account => account(context, part("account")).await,
        About::Project => project(context, part("project")).await,
        About::Environment => environment(context, part("project"), part("environment")).await,
        About::Task => task(context, part("task")).await,
        About::Token => token(context, part("token")).await,
        About::Contact => contact(context, part("contact")).await,
        About::Invoice => invoice(context, part("invoice")).await,
        About::ServiceAccount => service_account(context, part("account")).await,
    }
}

async fn account(context: &Context, name: &str) -> Result<Subject, ApiError> {
    let found = scopes::account(context, name).await?;
    Ok(Subject {
        account: Some(found.clone()),
        ..Subject::at(
            Place::Account(found.id),
            format!("account:{}", found.name),
            scopes::no_such_account(name),
        )
    })
}

pub(super) async fn project(context: &Context, name: &str) -> Result<Subject, ApiError> {
    let missing = || projects::no_such_project(name);
    let valid = ProjectName::new(name).map_err(|_| missing())?;
    let found = context.store.project_by_name(&valid).await?.ok_or_else(missing)?;
    Ok(Subject {
        project: Some(found.clone()),
        ..Subject::at(
            Place::Project(found.account, found.id),
            found.name.to_string(),
            missing(),
        )
    })
}

async fn environment(context: &Context, project_name: &str, name: &str) -> Result<Subject, ApiError> {
    let outer = project(context, project_name).await?;
    let Some(of) = outer.project else {
        return Err(ApiError::internal("a project was looked up and is not there"));
    };
    let missing = || projects::no_such_environment(&of.name, name);
    let found = match EnvironmentName::new(name) {
        Ok(valid) => context.store.environment_by_name(of.id, &valid).await?,
        Err(_) => None,
    };
    let Some(found) = found else {
        // Who may not know of the project must not learn that only the environment is missing.
        return Ok(Subject {
            environment: None,
            missing: outer.missing,
            project: Some(of.clone()),
            ..Subject::at(Place::Project(of.account, of.id), outer.scope, missing())
        });
    };
    Ok(Subject {
        scope: format!("{}/{}", of.name, found.name),
        place: Place::Environment(of.account, of.id, found.id),
        // Of a project that is not theirs nobody learns which environments it has.
        missing: outer.missing,
        account: None,
        environment: Some(found),
        project: Some(of),
        orphan: false,
    })
}

/// Accounts and names of all projects, so that a list can say where its entries are.
#[derive(Debug)]
pub(crate) struct Places(BTreeMap<ProjectId, (AccountId, ProjectName)>);

impl Places {
    /// Reads them.
    pub(crate) async fn of(context: &Context) -> Result<Self, ApiError> {
        let projects = context.store.project_list().await?.into_iter();
        Ok(Self(
            projects
                .map(|project| (project.id, (project.account, project.name)))
                .collect(),
        ))
    }

    /// Where something of a project is; `None` if the project is gone.
    pub(crate) fn of_project(&self, project: ProjectId, environment: Option<EnvironmentId>) -> Option<Place> {
        let (account, _) = self.0.get(&project)?;
        Some(match environment {
            Some(environment) => Place::Environment(*account, project, environment),
            None => Place::Project(*account, project),
        })
    }

    /// The name of a project.
    pub(crate) fn name(&self, project: ProjectId) -> String {
        self.0
            .get(&project)
            .map_or_else(|| project.to_string(), |(_, name)| name.to_string())
    }
}

/// What is of a project that may be gone.
async fn of_project(
    context: &Context,
    project: Option<ProjectId>,
    environment: Option<EnvironmentId>,
    missing: ApiError,
) -> Result<Subject, ApiError> {
    let Some(project) = project else {
        return Ok(Subject {
            missing,
            ..Subject::platform()
        });
    };
    let places = Places::of(context).await?;
    Ok(match places.of_project(project, environment) {
        Some(place) => Subject::at(place, places.name(project), missing),
        None => Subject {
            orphan: true,
            missing,
            ..Subject::platform()
        },
    })
}

async fn task(context: &Context, id: &str) -> Result<Subject, ApiError> {
    let missing =
        || ApiError::not_found("task-not-found", "there is no such task").with_hint("list them with `weir tasks`");
    let id: TaskId = id.parse().map_err(|_| missing())?;
    let task = context.store.task_by_id(id).await?.ok_or_else(missing)?;
    of_project(context, Some(task.project), task.environment, missing()).await
}

async fn token(context: &Context, id: &str) -> Result<Subject, ApiError> {
    let missing = crate::tokens::no_such_token;
    let id: TokenId = id.parse().map_err(|_| missing())?;
    let tokens = context.store.token_list().await?;
    let token = tokens.into_iter().find(|token| token.id == id).ok_or_else(missing)?;
    if let Some(account) = token.service_account {
        let mut subject = service_account(context, &account.to_string()).await?;
        subject.missing = missing();
        return Ok(subject);
    }
    let mut subject = of_project(context, token.project, None, missing()).await?;
    // One that is for everything is known to those only who look after people everywhere.
    subject.orphan |= token.project.is_none();
    Ok(subject)
}

fn no_such_contact() -> ApiError {
    ApiError::not_found("contact-not-found", "there is no such contact").with_hint("list them with `weir notify list`")
}

async fn contact(context: &Context, id: &str) -> Result<Subject, ApiError> {
    let contacts = context.store.contact_list().await?;
    let contact = contacts.into_iter().find(|contact| contact.id.to_string() == id);
    of_contact(context, &contact.ok_or_else(no_such_contact)?).await
}

/// What a contact is of.
pub(super) async fn of_contact(context: &Context, contact: &Contact) -> Result<Subject, ApiError> {
    match contact.project {
        Some(project) => of_project(context, Some(project), None, no_such_contact()).await,
        None => of_account(context, contact.account, no_such_contact()).await,
    }
}

async fn invoice(context: &Context, wanted: &str) -> Result<Subject, ApiError> {
    let invoice = invoices::find(context, wanted).await?;
    of_account(context, invoice.account, invoices::no_such_invoice()).await
}

async fn of_account(context: &Context, account: AccountId, missing: ApiError) -> Result<Subject, ApiError> {
    let accounts = context.store.account_list().await?;
    let found = accounts.into_iter().find(|found| found.id == account);
    let name = found.map_or_else(|| account.to_string(), |account| account.name);
    Ok(Subject::at(Place::Account(account), format!("account:{name}"), missing))
}

async fn service_account(context: &Context, id: &str) -> Result<Subject, ApiError> {
    let missing = crate::people::service::no_such_account;
    let id = id.parse().map_err(|_| missing())?;
    let found = context.store.service_account_by_id(id).await?.ok_or_else(missing)?;
    let (place, scope) = crate::people::scope::place_of(context, found.home)
        .await?
        .ok_or_else(missing)?;
    let mut subject = Subject::at(place, scope, missing());
    subject.orphan = place == Place::Platform;
    Ok(subject)
}
