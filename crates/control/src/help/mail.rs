//! Mail about requests for help: handed in together with the message, sent from there.

use std::time::Duration;

use weir_model::policy::{Reach, Role};
use weir_model::{HelpMailId, UserId};
use weir_store::{HelpMail, HelpMessage, HelpRequest, Member, StoreError};

use crate::billing::{Mail, Mailer};
use crate::context::Context;

/// How often it is looked for something to send.
const PAUSE: Duration = Duration::from_secs(2);
/// Pauses after failed attempts, in seconds; the last one goes on.
const PAUSES_S: [i64; 5] = [30, 300, 1_800, 7_200, 21_600];
/// Mail older than this is given up when an attempt fails.
const PATIENCE_MS: i64 = 3 * 86_400_000;
/// Mails of one round.
const ROUND: i64 = 16;
/// So many of those who run Weir are told.
const OPERATORS: usize = 20;

/// The mails about a message; none where there is no mail server.
pub(super) async fn to_other_side(
    context: &Context,
    request: &HelpRequest,
    message: &HelpMessage,
) -> Result<Vec<HelpMail>, StoreError> {
    if context.config.smtp.is_none() {
        return Ok(Vec::new());
    }
    let addresses = match message.by == request.by {
        true => operators(context, &request.by).await?,
        false => asker(context, request).await?,
    };
    let mail = |address| HelpMail {
        id: HelpMailId::from_parts(message.at_ms, context.clock.random()),
        message: message.id,
        address,
        subject: format!("Weir, help: {}", request.subject),
        body: words(request, message),
        created_ms: message.at_ms,
        attempts: 0,
        next_ms: message.at_ms,
    };
    Ok(addresses.into_iter().map(mail).collect())
}

fn words(request: &HelpRequest, message: &HelpMessage) -> String {
    let about = match request.scope.as_str() {
        "" => String::new(),
        scope => format!("About: {scope}\n"),
    };
    format!(
        "{} writes:\n\n{}\n\n{about}Answer: in the console under /help/{}, or by\n  weir help-request answer {} 'TEXT'\nMail to this address is read by nobody.\n",
        message.by_name, message.text, request.id, request.id
    )
}

/// Those who look after the whole Weir, without the one who asks.
async fn operators(context: &Context, asker: &str) -> Result<Vec<String>, StoreError> {
    let memberships = context.store.membership_list().await?;
    let everywhere = memberships
        .into_iter()
        .filter(|membership| membership.reach == Reach::Platform && membership.role >= Role::Admin);
    let mut addresses = Vec::new();
    for membership in everywhere {
        let Member::User(user) = membership.member else {
            continue;
        };
        if user.to_string() != asker && addresses.len() < OPERATORS {
            addresses.extend(address_of(context, user).await?);
        }
    }
    Ok(addresses)
}

/// The person who asked; a token has no address.
async fn asker(context: &Context, request: &HelpRequest) -> Result<Vec<String>, StoreError> {
    let Ok(user) = request.by.parse::<UserId>() else {
        return Ok(Vec::new());
    };
    Ok(address_of(context, user).await?.into_iter().collect())
}

async fn address_of(context: &Context, user: UserId) -> Result<Option<String>, StoreError> {
    let user = context.store.user_by_id(user).await?;
    Ok(user.filter(|user| !user.disabled).map(|user| user.email))
}

/// Sends until control stops.
pub async fn run(context: Context) {
    let bundle = context.config.ca_bundle.as_deref();
    // What is wrong with the server's address was said when control started.
    let mailer = context
        .config
        .smtp
        .as_ref()
        .and_then(|url| Mailer::open(url, bundle).ok());
    loop {
        if let Some(mailer) = &mailer
            && let Err(error) = round(&context, mailer).await
        {
            tracing::warn!(%error, "mail about requests for help could not be read or noted; trying again");
        }
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn round(context: &Context, mailer: &Mailer) -> Result<(), StoreError> {
    let store = &context.store;
    for due in store.help_mail_due(context.clock.now_ms(), ROUND).await? {
        let mail = Mail {
            to: &due.address,
            subject: &due.subject,
            text: &due.body,
            id: due.id.to_string(),
            pdf: None,
        };
        let sent = tokio::select! {
            // What was not noted as sent is sent again, as the same mail.
            () = context.stop.cancelled() => return Ok(()),
            sent = mailer.send(mail) => sent,
        };
        let now_ms = context.clock.now_ms();
        match sent {
            Ok(()) => store.help_mail_delete(due.id).await?,
            Err(problem) if now_ms.saturating_sub(due.created_ms) > PATIENCE_MS => {
                tracing::warn!(mail.id = %due.id, "mail about a request for help is given up: {problem}");
                store.help_mail_delete(due.id).await?;
            }
            Err(problem) => {
                tracing::debug!(mail.id = %due.id, "mail about a request for help was not taken: {problem}");
                let attempt = usize::try_from(due.attempts).unwrap_or(usize::MAX);
                let pause_s = PAUSES_S[attempt.min(PAUSES_S.len() - 1)];
                store.help_mail_later(due.id, now_ms + pause_s * 1_000).await?;
            }
        }
    }
    Ok(())
}
