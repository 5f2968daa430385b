//! Requests for help: what people ask those who run Weir, with how things stand at that moment.
//!
//! A request is seen by who asked, by those who look after people where it is about, and by those who
//! look after people of the whole Weir. Each message is mailed to the other side, if there is a mail
//! server. Everything is bounded: requests and messages of a person, and about a place, in a day, messages of
//! a request, sizes.

mod mail;
mod standing;

use weir_api::{CreateHelp, HelpContext};
use weir_model::policy::{Permission, Place, Reach};
use weir_model::{HelpMessageId, HelpRequestId, UnixMillis};
use weir_store::{HelpBound, HelpMessage, HelpRequest, HelpSearch, HelpState, HelpWritten};

use crate::api::ApiError;
use crate::api::auth::{Caller, Who};
use crate::context::Context;
use crate::people::Scopes;
use crate::people::scope::ALL;
pub use mail::run;

/// What one person may do in a day.
const DAY_MS: i64 = 86_400_000;
const REQUESTS_A_DAY: i64 = 20;
const MESSAGES_A_DAY: i64 = 100;
/// What may come in a day about one project, or about an account, however many tokens are made for it.
const REQUESTS_OF_PLACE_A_DAY: i64 = 60;
const MESSAGES_OF_PLACE_A_DAY: i64 = 500;
/// Messages of one request, the first one included.
const MESSAGES: i64 = 200;
const SUBJECT_CHARACTERS: usize = 200;
const TEXT_CHARACTERS: usize = 20_000;
/// Whoever was told that it is too much tries again after this time at the earliest.
const RETRY_S: u32 = 3_600;

/// A request with all that was said.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) request: HelpRequest,
    pub(crate) messages: Vec<HelpMessage>,
}

/// What a request is about.
struct About {
    scope: String,
    place: Place,
}

/// Asks for help.
pub(crate) async fn create(context: &Context, caller: &Caller, wanted: &CreateHelp) -> Result<Conversation, ApiError> {
    let subject = check_subject(&wanted.subject)?;
    let text = check_text(&wanted.text)?;
    let about = match wanted.scope.as_deref() {
        None | Some(ALL) => about_what_it_is_for(context, caller).await?,
        Some(scope) => Some(about(context, caller, scope).await?),
    };
    let attached = match (&about, wanted.attach) {
        (_, false) => None,
        (Some(about), true) => Some(standing::of(context, caller, &about.scope, about.place).await?),
        (None, true) => return Err(standing::of_no_environment(ALL)),
    };
    let now_ms = context.clock.now_ms();
    let place = about.as_ref().map(|about| about.place);
    let request = HelpRequest {
        id: HelpRequestId::from_parts(now_ms, context.clock.random()),
        subject,
        scope: about.map(|about| about.scope).unwrap_or_default(),
        account: place.and_then(Place::account),
        project: place.and_then(Place::project),
        environment: place.and_then(Place::environment),
        state: HelpState::Open,
        by: caller.identity(),
        by_name: caller.name().to_owned(),
        created_ms: now_ms,
        updated_ms: now_ms,
        context: attached.map(|attached| to_json(&attached)).transpose()?,
    };
    let message = message(context, caller, &request, text, now_ms);
    let mails = mail::to_other_side(context, &request, &message).await?;
    let bound = HelpBound {
        most: REQUESTS_A_DAY,
        most_of_place: REQUESTS_OF_PLACE_A_DAY,
        since_ms: now_ms - DAY_MS,
    };
    match context.store.help_insert(&request, &message, &mails, bound).await? {
        HelpWritten::TooMany => Err(too_many(format!("you have asked {REQUESTS_A_DAY} times within a day"))),
        HelpWritten::TooManyOfPlace => Err(too_many(format!(
            "{REQUESTS_OF_PLACE_A_DAY} requests within a day are about the same project or account"
        ))),
        HelpWritten::Done | HelpWritten::Gone => Ok(Conversation {
            request,
            messages: vec![message],
        }),
    }
}

/// How things stand in an environment, as it would be attached.
pub(crate) async fn context_of(context: &Context, caller: &Caller, scope: &str) -> Result<HelpContext, ApiError> {
    let about = about(context, caller, scope).await?;
    standing::of(context, caller, &about.scope, about.place).await
}

/// Requests that the one who asks may see, newest first.
pub(crate) async fn list(
    context: &Context,
    caller: &Caller,
    state: Option<HelpState>,
    before: Option<HelpRequestId>,
    limit: i64,
) -> Result<Vec<HelpRequest>, ApiError> {
    let all = caller.rights.may(Permission::People, Place::Platform);
    let grants = caller.rights.grants().iter();
    let looked_after = grants.filter(|grant| grant.power.allows(Permission::People));
    let search = HelpSearch {
        state,
        before,
        by: caller.identity(),
        within: (!all).then(|| looked_after.map(|grant| Reach::key(grant.reach)).collect()),
        limit,
    };
    Ok(context.store.help_list(&search).await?)
}

/// A request that the one who asks may see.
pub(crate) async fn get(context: &Context, caller: &Caller, id: HelpRequestId) -> Result<Conversation, ApiError> {
    let request = seen(context, caller, id).await?;
    let messages = context.store.help_messages(id).await?;
    Ok(Conversation { request, messages })
}

/// Says something to it.
pub(crate) async fn answer(
    context: &Context,
    caller: &Caller,
    id: HelpRequestId,
    text: &str,
) -> Result<Conversation, ApiError> {
    let request = seen(context, caller, id).await?;
    let text = check_text(text)?;
    let now_ms = context.clock.now_ms();
    let message = message(context, caller, &request, text, now_ms);
    let mails = mail::to_other_side(context, &request, &message).await?;
    let state = match message.by == request.by {
        true => HelpState::Open,
        false => HelpState::Answered,
    };
    let bound = HelpBound {
        most: MESSAGES_A_DAY,
        most_of_place: MESSAGES_OF_PLACE_A_DAY,
        since_ms: now_ms - DAY_MS,
    };
    let written = context.store.help_say(&message, &mails, state, bound, MESSAGES).await?;
    match written {
        HelpWritten::Done => get(context, caller, id).await,
        HelpWritten::TooMany => Err(too_many(format!(
            "one says {MESSAGES_A_DAY} things a day at most, and a request has {MESSAGES} messages at most"
        ))),
        HelpWritten::TooManyOfPlace => Err(too_many(format!(
            "{MESSAGES_OF_PLACE_A_DAY} things were said within a day to requests about the same project or account"
        ))),
        HelpWritten::Gone => Err(ApiError::conflict("help-closed", "the request is closed")
            .with_hint(format!("open it again first: `weir help-request reopen {id}`"))),
    }
}

/// Closes it, or opens it again.
pub(crate) async fn set_state(
    context: &Context,
    caller: &Caller,
    id: HelpRequestId,
    state: &str,
) -> Result<Conversation, ApiError> {
    seen(context, caller, id).await?;
    let state = match state {
        "open" => HelpState::Open,
        "closed" => HelpState::Closed,
        _ => return Err(ApiError::invalid("a request is set to `open` or to `closed`")),
    };
    context.store.help_set_state(id, state, context.clock.now_ms()).await?;
    get(context, caller, id).await
}

/// What a token names no place for is about the place that it is for: so what is asked there has one bound,
/// however many tokens are made. People ask for themselves.
async fn about_what_it_is_for(context: &Context, caller: &Caller) -> Result<Option<About>, ApiError> {
    let reach = match &caller.who {
        Who::Person(..) => None,
        // It may have roles elsewhere, where its words are nobody's business.
        Who::ServiceAccount(_, account) => Some(account.home),
        _ => caller.rights.grants().first().map(|grant| grant.reach),
    };
    let Some(reach) = reach.filter(|reach| *reach != Reach::Platform) else {
        return Ok(None);
    };
    let found = Scopes::of(context).await?.find(reach);
    Ok(found.map(|(place, scope)| About { scope, place }))
}

async fn about(context: &Context, caller: &Caller, scope: &str) -> Result<About, ApiError> {
    let scopes = Scopes::of(context).await?;
    match scopes.parse(scope) {
        Ok(place) if caller.rights.knows(place) => Ok(About {
            scope: scope.to_owned(),
            place,
        }),
        // What one may not know of looks like what is not there.
        _ => Err(scopes.missing(&caller.rights, scope)),
    }
}

async fn seen(context: &Context, caller: &Caller, id: HelpRequestId) -> Result<HelpRequest, ApiError> {
    let found = context.store.help_by_id(id).await?;
    let found = found
        .filter(|request| request.by == caller.identity() || caller.rights.may(Permission::People, place_of(request)));
    found.ok_or_else(missing)
}

/// The answer for a request that is not there, or not for the one who asks.
pub(crate) fn missing() -> ApiError {
    ApiError::not_found("help-not-found", "there is no such request for help")
        .with_hint("list them with `weir help-request list`")
}

/// Where it is, also once that is gone.
fn place_of(request: &HelpRequest) -> Place {
    match (request.account, request.project, request.environment) {
        (Some(account), Some(project), Some(environment)) => Place::Environment(account, project, environment),
        (Some(account), Some(project), None) => Place::Project(account, project),
        (Some(account), None, _) => Place::Account(account),
        (None, ..) => Place::Platform,
    }
}

fn message(context: &Context, caller: &Caller, request: &HelpRequest, text: String, now_ms: UnixMillis) -> HelpMessage {
    let by = caller.identity();
    HelpMessage {
        id: HelpMessageId::from_parts(now_ms, context.clock.random()),
        request: request.id,
        at_ms: now_ms,
        operator: by != request.by && caller.rights.may(Permission::Platform, Place::Platform),
        by,
        by_name: caller.name().to_owned(),
        text,
    }
}

fn to_json(attached: &HelpContext) -> Result<String, ApiError> {
    serde_json::to_string(attached).map_err(ApiError::internal)
}

fn too_many(title: String) -> ApiError {
    let mut error = ApiError::new(http::StatusCode::TOO_MANY_REQUESTS, "too-many-requests", title);
    error.retry_after_s = Some(RETRY_S);
    error.with_hint("go on in a request that is open: `weir help-request list`, or tomorrow")
}

fn check_subject(subject: &str) -> Result<String, ApiError> {
    let subject = subject.trim();
    let count = subject.chars().count();
    if count == 0 || count > SUBJECT_CHARACTERS || subject.contains(char::is_control) {
        return Err(ApiError::invalid(format!(
            "a subject is one line of 1 to {SUBJECT_CHARACTERS} characters"
        )));
    }
    Ok(subject.to_owned())
}

fn check_text(text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    let count = text.chars().count();
    let is_odd = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t' | '\r');
    if count == 0 || count > TEXT_CHARACTERS || text.contains(is_odd) {
        return Err(ApiError::invalid(format!(
            "a text has 1 to {TEXT_CHARACTERS} characters, and none that control a terminal"
        )));
    }
    Ok(text.to_owned())
}
