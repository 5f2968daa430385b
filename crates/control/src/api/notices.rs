//! Contacts, and the notices that they get.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use weir_api::CreateContact;
use weir_model::policy::{Permission, Place};
use weir_model::{ContactId, ProjectName};
use weir_store::{Account, Channel, Contact, Notice};

use super::Api;
use super::auth::Caller;
use super::environments::ListQuery;
use super::error::ApiError;
use super::extract::{JsonBody, PathOf, QueryOf};
use super::place::{self, Places};
use super::present::instant;
use super::scopes;
use crate::audit::Notes;
use crate::billing;
use crate::context::Context;
use crate::secrets::{Secret, hex, random_bytes};

/// Most contacts on one Weir: every list is bounded, and each contact is a delivery.
const CONTACTS: usize = 1_000;

/// Lists contacts.
#[utoipa::path(get, path = "/v1/contacts", tag = "notices", responses((status = 200, body = Vec<weir_api::Contact>)))]
pub(super) async fn list_contacts(
    State(api): State<Api>,
    caller: Caller,
) -> Result<Json<Vec<weir_api::Contact>>, ApiError> {
    let names = Names::of(&api.context).await?;
    let contacts = visible(&api.context, &caller).await?;
    Ok(Json(contacts.iter().map(|contact| names.contact(contact)).collect()))
}

/// Adds a contact. The answer holds, once, what its webhooks are signed with.
#[utoipa::path(post, path = "/v1/contacts", tag = "notices", request_body = CreateContact, responses((status = 201, body = weir_api::Contact)))]
pub(super) async fn create_contact(
    State(api): State<Api>,
    caller: Caller,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<CreateContact>,
) -> Result<(StatusCode, Json<weir_api::Contact>), ApiError> {
    let (contact, secret) = create(&api.context, &caller, &request).await?;
    let subject = place::of_contact(&api.context, &contact).await?;
    notes.at(&subject.scope, subject.place);
    notes.target(&contact.id.to_string());
    let mut answer = Names::of(&api.context).await?.contact(&contact);
    answer.secret = secret.map(Secret::into_exposed);
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Removes a contact, and what waits for it.
#[utoipa::path(delete, path = "/v1/contacts/{contact}", tag = "notices", params(("contact" = String, Path, description = "Identity of the contact")), responses((status = 204)))]
pub(super) async fn delete_contact(State(api): State<Api>, PathOf(id): PathOf<String>) -> Result<StatusCode, ApiError> {
    let contact = find(&api.context, &id).await?;
    api.context.store.contact_delete(contact.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a contact a notice that only shows that it is reached.
#[utoipa::path(post, path = "/v1/contacts/{contact}/test", tag = "notices", params(("contact" = String, Path, description = "Identity of the contact")), responses((status = 202, body = weir_api::Notice)))]
pub(super) async fn test_contact(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<(StatusCode, Json<weir_api::Notice>), ApiError> {
    let contact = find(&api.context, &id).await?;
    let notice = billing::test(&api.context, &contact).await?;
    Ok((StatusCode::ACCEPTED, Json(present(&notice, &contact.address))))
}

/// Notices, newest first.
#[utoipa::path(get, path = "/v1/notices", tag = "notices", params(("limit" = Option<i64>, Query, description = "1 to 500; 50 if absent")), responses((status = 200, body = Vec<weir_api::Notice>)))]
pub(super) async fn list_notices(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<Vec<weir_api::Notice>>, ApiError> {
    let contacts = visible(&api.context, &caller).await?;
    let addresses: BTreeMap<ContactId, &str> = contacts
        .iter()
        .map(|contact| (contact.id, contact.address.as_str()))
        .collect();
    let notices = api.context.store.notice_list(query.limit()).await?;
    let seen = notices
        .iter()
        .filter_map(|notice| Some(present(notice, addresses.get(&notice.contact)?)));
    Ok(Json(seen.collect()))
}

/// The contacts of what the one who asks looks after.
async fn visible(context: &Context, caller: &Caller) -> Result<Vec<Contact>, ApiError> {
    let places = Places::of(context).await?;
    let mut contacts = context.store.contact_list().await?;
    contacts.retain(|contact| {
        let place = match contact.project {
            Some(project) => places.of_project(project, None),
            None => Some(Place::Account(contact.account)),
        };
        place.is_some_and(|place| caller.rights.may(Permission::SendOut, place))
    });
    Ok(contacts)
}

async fn find(context: &Context, id: &str) -> Result<Contact, ApiError> {
    let contacts = context.store.contact_list().await?;
    let found = contacts.into_iter().find(|contact| contact.id.to_string() == id);
    found.ok_or_else(|| {
        ApiError::not_found("contact-not-found", "there is no such contact")
            .with_hint("list them with `weir notify list`")
    })
}

async fn create(
    context: &Context,
    caller: &Caller,
    request: &CreateContact,
) -> Result<(Contact, Option<Secret>), ApiError> {
    let (account, project) = match (&request.project, &request.account) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "a contact is for a project or for an account, not both",
            ));
        }
        (Some(name), None) => {
            let missing = || crate::projects::no_such_project(name);
            let valid = ProjectName::new(name).map_err(|_| missing())?;
            let project = context.store.project_by_name(&valid).await?;
            let project = project.ok_or_else(missing)?;
            caller.require(
                Permission::SendOut,
                Place::Project(project.account, project.id),
                name,
                missing,
            )?;
            (project.account, Some(project.id))
        }
        (None, account) => {
            let name = account.as_deref().unwrap_or("default");
            let account = scopes::account(context, name).await?.id;
            let missing = || scopes::no_such_account(name);
            caller.require(
                Permission::SendOut,
                Place::Account(account),
                &format!("account:{name}"),
                missing,
            )?;
            (account, None)
        }
    };
    if request.allow_private {
        // Who has only a project must not reach with it what the machine reaches.
        caller.require_platform()?;
    }
    let channel = check_address(request)?;
    let contacts = context.store.contact_list().await?;
    let same = |contact: &&Contact| {
        contact.account == account && contact.project == project && contact.address == request.address
    };
    if let Some(contact) = contacts.iter().find(same) {
        return Err(ApiError::conflict(
            "contact-exists",
            format!("{} is a contact for that already: {}", request.address, contact.id),
        ));
    }
    if contacts.len() >= CONTACTS {
        return Err(ApiError::conflict(
            "too-many",
            format!("one Weir has {CONTACTS} contacts at most"),
        ));
    }
    let now_ms = context.clock.now_ms();
    let id = ContactId::from_parts(now_ms, context.clock.random());
    let secret = match channel {
        Channel::Email => None,
        Channel::Webhook => Some(Secret::new(format!("whsec_{}", hex(&random_bytes::<32>())))),
    };
    let sealed = secret
        .as_ref()
        .map(|secret| billing::seal_secret(&context.sealer, id, secret));
    let contact = Contact {
        id,
        account,
        project,
        channel,
        address: request.address.clone(),
        secret: sealed.transpose()?.unwrap_or_default(),
        private: request.allow_private,
        created_ms: now_ms,
    };
    context.store.contact_insert(&contact).await?;
    Ok((contact, secret))
}

fn check_address(request: &CreateContact) -> Result<Channel, ApiError> {
    match request.channel.as_str() {
        "email" => {
            billing::check_email(&request.address).map_err(ApiError::invalid)?;
            Ok(Channel::Email)
        }
        "webhook" => {
            billing::check_url(&request.address, request.allow_private).map_err(|words| {
                ApiError::invalid(words).with_hint("an admin may allow what is on this machine or in a private network: `weir notify add --webhook URL --allow-private`")
            })?;
            Ok(Channel::Webhook)
        }
        _ => Err(ApiError::invalid("a contact is an `email` or a `webhook`")),
    }
}

/// Names of accounts and projects.
struct Names {
    accounts: Vec<Account>,
    projects: Vec<weir_model::project::Project>,
}

impl Names {
    async fn of(context: &Context) -> Result<Self, ApiError> {
        Ok(Self {
            accounts: context.store.account_list().await?,
            projects: context.store.project_list().await?,
        })
    }

    fn contact(&self, contact: &Contact) -> weir_api::Contact {
        let account = self.accounts.iter().find(|account| account.id == contact.account);
        let project = self.projects.iter().find(|project| Some(project.id) == contact.project);
        weir_api::Contact {
            id: contact.id.to_string(),
            account: account.map_or_else(|| contact.account.to_string(), |account| account.name.clone()),
            project: project.map(|project| project.name.to_string()),
            channel: contact.channel.to_string(),
            address: contact.address.clone(),
            allow_private: contact.private,
            created: instant(contact.created_ms),
            secret: None,
        }
    }
}

fn present(notice: &Notice, address: &str) -> weir_api::Notice {
    weir_api::Notice {
        id: notice.id.to_string(),
        contact: notice.contact.to_string(),
        address: address.to_owned(),
        kind: notice.kind.clone(),
        subject: notice.subject.clone(),
        state: notice.state.to_string(),
        attempts: notice.attempts,
        created: instant(notice.created_ms),
        next: instant(notice.next_ms),
        problem: notice.problem.clone(),
    }
}
