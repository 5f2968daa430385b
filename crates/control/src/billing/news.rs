//! What contacts are told of, and in which words.

use std::fmt::Write as _;

use async_trait::async_trait;
use serde_json::json;
use weir_ledger::book::Scope;
use weir_model::guard::GuardTrip;
use weir_model::project::{Environment, Project};
use weir_model::{AccountId, ContactId, EnvironmentId, InvoiceId, NoticeId, ProjectId, UnixMillis};
use weir_store::{Account, BillingRecord, Channel, Contact, Invoice, Notice, NoticeState, StoreError};

use crate::api::present::instant;
use crate::context::Context;
use crate::guarding;
use crate::invoices;
use crate::money::{Alert, AlertSink};
use crate::secrets::{Sealer, Secret, SecretError};

/// The same app is told of for the same rule once in so long.
const GUARD_QUIET_MS: i64 = 600_000;

/// How the keys of notices about documents begin.
const INVOICE_KEY: &str = "invoice-";

/// Hands alerts in for the contacts that they concern.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoticeSink;

#[async_trait]
impl AlertSink for NoticeSink {
    async fn deliver(&self, context: &Context, alert: &Alert) -> Result<(), StoreError> {
        let Some(about) = About::of(context, alert.scope).await? else {
            return Ok(());
        };
        let news = News {
            key: alert.id.clone(),
            kind: alert.kind,
            at_ms: alert.at_ms,
            message: &alert.message,
            next_step: next_step(alert.kind, &about),
            about,
        };
        tell(context, &news).await
    }
}

/// Hands in what the guard has caught, for the contacts of the project.
pub async fn guard_tripped(
    context: &Context,
    project: &Project,
    environment: &Environment,
    trip: &GuardTrip,
    message: &str,
) {
    let key = format!(
        "{}-{}-{}-{}-{:?}-{}",
        guarding::kind_of(trip),
        environment.id,
        trip.app,
        trip.process,
        trip.rule,
        trip.at_ms.div_euclid(GUARD_QUIET_MS)
    );
    let told = async {
        let about = About::of(context, Scope::Environment(environment.id)).await?;
        let Some(about) = about else {
            return Ok(());
        };
        let news = News {
            key,
            kind: guarding::kind_of(trip),
            at_ms: trip.at_ms,
            message,
            next_step: format!("weir guard {} {} --env {}", project.name, trip.app, environment.name),
            about,
        };
        tell(context, &news).await
    };
    let told: Result<(), StoreError> = told.await;
    if let Err(error) = told {
        tracing::warn!(project.name = %project.name, %error, "what the guard caught could not be told to contacts");
    }
}

/// Hands in that a certificate ends without another, for the contacts of an environment that it
/// serves. The same key is told once.
pub async fn certificate_ending(
    context: &Context,
    environment: EnvironmentId,
    key: String,
    message: &str,
) -> Result<(), StoreError> {
    let Some(about) = About::of(context, Scope::Environment(environment)).await? else {
        return Ok(());
    };
    let news = News {
        key,
        kind: "certificate.ending",
        at_ms: context.clock.now_ms(),
        message,
        next_step: format!("weir domain list {}", about.place()),
        about,
    };
    tell(context, &news).await
}

/// Hands in that an outside billing system does not take a record, for the contacts of the account;
/// once a day, because then it is hardly the only one.
pub(super) async fn record_failed(
    context: &Context,
    record: &BillingRecord,
    now_ms: UnixMillis,
    problem: &str,
) -> Result<(), StoreError> {
    let Some(about) = About::of(context, Scope::Account(record.account)).await? else {
        return Ok(());
    };
    let message = format!(
        "the outside billing system does not take the record {}: {problem}",
        record.id
    );
    let news = News {
        key: format!("record-{}-{}", record.account, now_ms.div_euclid(86_400_000)),
        kind: "billing.failed",
        at_ms: now_ms,
        message: &message,
        next_step: "weir billing records --state failed".to_owned(),
        about,
    };
    tell(context, &news).await
}

/// Hands in that an invoice or a credit note is final.
pub async fn invoice_final(context: &Context, invoice: &Invoice, shown: weir_api::Invoice) -> Result<(), StoreError> {
    let Some(about) = About::of(context, Scope::Account(invoice.account)).await? else {
        return Ok(());
    };
    let document = &shown.document;
    let message = format!(
        "{} {} of {} {}, for use {}",
        shown.kind.replace('-', " "),
        shown.number.as_deref().unwrap_or_default(),
        document.total,
        document.currency,
        invoices::stretch(document)
    );
    let news = News {
        key: format!("{INVOICE_KEY}{}", invoice.id),
        kind: "invoice.final",
        at_ms: invoice.final_ms.unwrap_or(invoice.created_ms),
        message: &message,
        next_step: format!("weir invoice pdf {} FILE.pdf", invoice.id),
        about: About {
            document: Some(shown),
            ..about
        },
    };
    tell(context, &news).await
}

/// The document that a notice is about.
pub(super) fn invoice_of(notice: &Notice) -> Option<InvoiceId> {
    notice.key.strip_prefix(INVOICE_KEY)?.parse().ok()
}

/// Hands in a notice that only shows that a contact is reached.
pub async fn test(context: &Context, contact: &Contact) -> Result<Notice, StoreError> {
    let projects = context.store.project_list().await?;
    let project = projects.into_iter().find(|project| Some(project.id) == contact.project);
    let accounts = context.store.account_list().await?;
    let account = accounts.into_iter().find(|account| account.id == contact.account);
    let news = News {
        key: format!("test-{:032x}", context.clock.random()),
        kind: "test",
        at_ms: context.clock.now_ms(),
        message: "this is a test; notices about money arrive here",
        next_step: "weir notify list".to_owned(),
        about: About {
            account_id: contact.account,
            account: account.map(|account| account.name).unwrap_or_default(),
            project_id: contact.project,
            project: project.map(|project| project.name.to_string()),
            environment: None,
            document: None,
        },
    };
    let notice = notice_of(context, contact, &news);
    context.store.notice_insert(&notice).await?;
    Ok(notice)
}

/// Seals what the webhooks of a contact are signed with.
pub fn seal_secret(sealer: &Sealer, contact: ContactId, secret: &Secret) -> Result<String, SecretError> {
    sealer.seal_text(&place_of(contact), secret.expose())
}

pub(super) fn open_secret(sealer: &Sealer, contact: &Contact) -> Result<Secret, SecretError> {
    sealer.open_text(&place_of(contact.id), &contact.secret)
}

fn place_of(contact: ContactId) -> String {
    format!("{contact}\0webhook")
}

/// Whose money something is about.
#[derive(Debug)]
struct About {
    account_id: AccountId,
    account: String,
    project_id: Option<ProjectId>,
    project: Option<String>,
    environment: Option<String>,
    /// An invoice or a credit note, which is nothing for contacts of one project.
    document: Option<weir_api::Invoice>,
}

impl About {
    /// `None` if it does not exist any more.
    async fn of(context: &Context, scope: Scope) -> Result<Option<Self>, StoreError> {
        let store = &context.store;
        let mut environment = None;
        let project = match scope {
            Scope::Account(_) => None,
            Scope::Project(id) => Some(store.project_by_id(id).await?),
            Scope::Environment(id) => {
                environment = store.environment_by_id(id).await?;
                match &environment {
                    Some(environment) => Some(store.project_by_id(environment.project).await?),
                    None => Some(None),
                }
            }
        };
        let (account_id, project) = match (scope, project) {
            (Scope::Account(id), _) => (id, None),
            (_, Some(Some(project))) => (project.account, Some(project)),
            _ => return Ok(None),
        };
        let accounts: Vec<Account> = store.account_list().await?;
        let account = accounts.into_iter().find(|account| account.id == account_id);
        Ok(account.map(|account| Self {
            account_id,
            account: account.name,
            project_id: project.as_ref().map(|project| project.id),
            project: project.map(|project| project.name.to_string()),
            environment: environment.map(|environment| environment.name.to_string()),
            document: None,
        }))
    }

    /// As `weir cap set` takes it.
    fn scope(&self) -> String {
        match (&self.project, &self.environment) {
            (Some(project), Some(environment)) => format!("{project}/{environment}"),
            (Some(project), None) => project.clone(),
            _ => format!("account:{}", self.account),
        }
    }

    /// As commands about an environment take it.
    fn place(&self) -> String {
        let option = |name: &str, value: &Option<String>| {
            let value = value.as_ref()?;
            Some(format!("--{name} {value}"))
        };
        let options = [option("project", &self.project), option("env", &self.environment)];
        options.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    fn concerns(&self, contact: &Contact) -> bool {
        let same = |project| self.project_id.is_none_or(|about| about == project);
        let project = match (contact.project, &self.document) {
            (Some(_), Some(_)) => false,
            (project, _) => project.is_none_or(same),
        };
        contact.account == self.account_id && project
    }
}

/// Something to be told, before it is known to whom.
#[derive(Debug)]
struct News<'a> {
    key: String,
    kind: &'static str,
    at_ms: UnixMillis,
    message: &'a str,
    /// A command.
    next_step: String,
    about: About,
}

fn next_step(kind: &str, about: &About) -> String {
    match (kind, &about.project) {
        ("money.resumed", Some(project)) => format!("weir status {project}"),
        ("money.promise-due" | "money.promise-broken", _) => {
            format!("weir account topup {} AMOUNT --reference TEXT", about.account)
        }
        _ => format!("weir cap set {} AMOUNT/month", about.scope()),
    }
}

async fn tell(context: &Context, news: &News<'_>) -> Result<(), StoreError> {
    let contacts = context.store.contact_list().await?;
    for contact in contacts.iter().filter(|contact| news.about.concerns(contact)) {
        match context.store.notice_insert(&notice_of(context, contact, news)).await {
            // It was removed a moment ago.
            Ok(_) | Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn notice_of(context: &Context, contact: &Contact, news: &News<'_>) -> Notice {
    let now_ms = context.clock.now_ms();
    let id = NoticeId::from_parts(now_ms, context.clock.random());
    let subject = format!("{}: {}", news.about.scope(), news.message);
    Notice {
        sequence: 0,
        id,
        contact: contact.id,
        key: news.key.clone(),
        kind: news.kind.to_owned(),
        body: match contact.channel {
            Channel::Email => text_of(&subject, news),
            Channel::Webhook => json_of(id, news),
        },
        subject,
        created_ms: now_ms,
        state: NoticeState::Waiting,
        attempts: 0,
        next_ms: now_ms,
        problem: None,
    }
}

fn text_of(subject: &str, news: &News<'_>) -> String {
    let about = &news.about;
    let mut text = format!("{subject}\n\nWhen:         {}\n", instant(news.at_ms));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<13} {value}");
    };
    line("Account:", &about.account);
    if let Some(project) = &about.project {
        line("Project:", project);
    }
    if let Some(environment) = &about.environment {
        line("Environment:", environment);
    }
    if let Some(document) = &about.document {
        line("Document:", &format!("{}, attached as PDF", document.id));
    }
    line("Next step:", &news.next_step);
    text + "\nThis address is a contact of Weir; `weir notify list` shows all of them.\n"
}

fn json_of(id: NoticeId, news: &News<'_>) -> String {
    let about = &news.about;
    let document = about.document.as_ref().map(|document| {
        json!({
            "id": document.id,
            "kind": document.kind,
            "number": document.number,
            "total": document.document.total,
            "currency": document.document.currency,
            "pdf": format!("/v1/invoices/{}/pdf", document.id),
        })
    });
    json!({
        "id": id,
        "kind": news.kind,
        "at": instant(news.at_ms),
        "account": about.account,
        "project": about.project,
        "environment": about.environment,
        "message": news.message,
        "next_step": news.next_step,
        "document": document,
    })
    .to_string()
}
