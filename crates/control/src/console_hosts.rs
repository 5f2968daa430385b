//! Host names by which people sign in to the console. None of them may become the name of an app: cookies
//! that browsers keep for it would be sent there.
//!
//! Nobody enters them; they are learned. Only those who look after the whole Weir teach them, or any tenant
//! could keep a name from another one by naming it as the host of a request.

use std::collections::BTreeSet;

use http::{HeaderMap, header};
use weir_model::UnixMillis;
use weir_model::policy::{Permission, Place};
use weir_store::{StoreError, User};

use crate::api::{ApiError, LONGEST_MS};
use crate::context::Context;
use crate::{hosts, people};

/// What the settings with the names begin with; their values say when somebody signed in there last.
const SETTING: &str = "console-host:";
/// Most names; the one that was not used for longest makes room.
const MOST: usize = 16;
/// The last time is noted once in so long.
const NOTED_MS: i64 = 86_400_000;

/// Learns the host of a sign-in.
pub(crate) async fn learn(context: &Context, headers: &HeaderMap, user: &User) -> Result<(), ApiError> {
    let given = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let name = given.and_then(|given| given.split(':').next()).unwrap_or_default();
    // An address, or the name of the machine itself, is no app's.
    let Ok(host) = hosts::check_host(name) else {
        return Ok(());
    };
    let rights = people::rights_of(&context.store, user.id).await?;
    if !rights.may(Permission::Platform, Place::Platform) {
        return Ok(());
    }
    let now_ms = context.clock.now_ms();
    let mut known = known(context).await?;
    if known
        .iter()
        .any(|(name, at_ms)| *name == host && now_ms - at_ms < NOTED_MS)
    {
        return Ok(());
    }
    known.retain(|(name, _)| *name != host);
    known.sort_by_key(|(_, at_ms)| *at_ms);
    let too_many = (known.len() + 1).saturating_sub(MOST);
    for (name, _) in known.iter().take(too_many) {
        context.store.setting_delete(&format!("{SETTING}{name}")).await?;
    }
    let setting = format!("{SETTING}{host}");
    context.store.setting_set(&setting, &now_ms.to_string()).await?;
    let domains = context.store.domain_list_all().await?;
    let taken = match domains.iter().find(|domain| domain.host == host) {
        Some(domain) => hosts::owner_of(context, domain).await?,
        None => None,
    };
    if let Some((_, taken)) = taken {
        tracing::warn!(
            host,
            "somebody signed in to the console by a host name that belongs to {taken}: give the console another name, or take this one away with `weir domain remove`"
        );
    }
    Ok(())
}

/// Hosts at which sessions may live.
pub(crate) async fn all(context: &Context) -> Result<BTreeSet<String>, StoreError> {
    let now_ms = context.clock.now_ms();
    let known = known(context).await?.into_iter();
    let used = known.filter(|(_, at_ms)| now_ms - at_ms < LONGEST_MS + NOTED_MS);
    Ok(used.map(|(host, _)| host).collect())
}

async fn known(context: &Context) -> Result<Vec<(String, UnixMillis)>, StoreError> {
    let settings = context.store.setting_list(SETTING).await?.into_iter();
    let read = settings.filter_map(|(name, value)| {
        let host = name.strip_prefix(SETTING)?.to_owned();
        Some((host, value.parse().ok()?))
    });
    Ok(read.collect())
}
