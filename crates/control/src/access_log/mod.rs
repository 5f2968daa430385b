//! Access logs: which apps have theirs switched on, what the nodes tell of requests, and where it is
//! shipped.
//!
//! Lines are kept with the logs of the app, within bounds of their own, and are read from there by
//! whoever ships them: what a receiver does not take waits on disk and in no memory. What is set
//! stands among the settings, under the identity of the environment.

mod ship;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use weir_model::access_log::{AccessBatch, AccessEntry, AccessLogging};
use weir_model::log::{LogLine, LogStream};
use weir_model::spec::AppSpec;
use weir_model::{AppName, EnvironmentId, InstanceId, ProcessName, UnixMillis};
use weir_store::{Store, StoreError};

use crate::api::ApiError;
use crate::api::present::instant;
use crate::context::Context;
use crate::status::Numbers;

pub use ship::{run, set_shipping, shipping, unset_shipping};

/// What the lines of access logs are said to be from.
const PROCESS: &str = "access";

/// What is set of an environment's access logs is named below it.
fn place(environment: EnvironmentId, rest: &str) -> String {
    format!("access-log/{environment}/{rest}")
}

/// Apps of an environment for which somebody has said whether requests are logged.
pub async fn set_apps(
    store: &Store,
    environment: EnvironmentId,
) -> Result<BTreeMap<AppName, AccessLogging>, StoreError> {
    let beginning = place(environment, "app/");
    let settings = store.setting_list(&beginning).await?;
    let read = |(name, value): &(String, String)| {
        let app = name.strip_prefix(&beginning)?;
        Some((AppName::new(app).ok()?, value.parse().ok()?))
    };
    Ok(settings.iter().filter_map(read).collect())
}

/// Whether requests to each of these apps are logged: as it was set, else as its release says.
pub async fn in_force<'a>(
    store: &Store,
    environment: EnvironmentId,
    apps: impl Iterator<Item = (&'a AppName, &'a AppSpec)>,
) -> Result<BTreeMap<AppName, AccessLogging>, StoreError> {
    let set = set_apps(store, environment).await?;
    let said = |(name, spec): (&AppName, &AppSpec)| (name.clone(), set.get(name).copied().unwrap_or(spec.access_log));
    Ok(apps.map(said).collect())
}

/// Says whether requests to an app are logged; `None`: as its release says.
pub async fn set_app(
    context: &Context,
    environment: EnvironmentId,
    app: &AppName,
    logging: Option<AccessLogging>,
) -> Result<(), ApiError> {
    let name = place(environment, &format!("app/{app}"));
    match logging {
        Some(logging) => context.store.setting_set(&name, logging.as_str()).await?,
        None => context.store.setting_delete(&name).await?,
    }
    context.reconciler.wake(environment);
    Ok(())
}

/// Forgets all that was set of an environment that is destroyed.
pub async fn forget(store: &Store, environment: EnvironmentId) -> Result<(), StoreError> {
    for (name, _) in store.setting_list(&place(environment, "")).await? {
        store.setting_delete(&name).await?;
    }
    Ok(())
}

/// Keeps what a node tells of requests.
pub async fn receive(context: &Context, batch: &AccessBatch) -> Result<(), ApiError> {
    let Ok(process) = ProcessName::new(PROCESS) else {
        return Err(ApiError::internal("the name of the access log is none"));
    };
    let now_ms = context.clock.now_ms();
    let line = |app: &AppName, instance, stream, text| LogLine {
        // When it was written: in this order it is shipped.
        at_ms: now_ms,
        app: app.clone(),
        process: process.clone(),
        instance,
        stream,
        text,
    };
    let mut lines: BTreeMap<(EnvironmentId, &AppName), Vec<LogLine>> = BTreeMap::new();
    for (environment, app, dropped) in &batch.dropped {
        let text = format!("{dropped} requests are left out here: more came than could be written down");
        let told = line(app, None, LogStream::Weir, text);
        lines.entry((*environment, app)).or_default().push(told);
    }
    let mut releases = Releases::new(context);
    for entry in &batch.entries {
        let release = releases.of(entry).await?;
        let text = serde_json::to_string(&Line::of(entry, release)).map_err(ApiError::internal)?;
        let told = line(&entry.app, entry.instance, LogStream::Stdout, text);
        lines.entry((entry.environment, &entry.app)).or_default().push(told);
    }
    for ((environment, app), lines) in lines {
        context.logs.append_access(environment, app, &lines).await;
    }
    Ok(())
}

/// One line, as people and collectors read it. Absent keys say that there is nothing to say.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: String,
    app: &'a AppName,
    process: &'a str,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<&'a str>,
    received_bytes: u64,
    sent_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_us: Option<u64>,
    duration_us: u64,
    client: String,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<&'a str>,
    request_id: &'a str,
    trace_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<InstanceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<i64>,
}

impl<'a> Line<'a> {
    fn of(entry: &'a AccessEntry, release: Option<i64>) -> Self {
        let asked = &entry.request;
        Self {
            time: instant(entry.at_ms),
            app: &entry.app,
            process: &entry.process,
            method: &asked.method,
            host: &asked.host,
            path: &asked.path,
            query: asked.query.as_deref(),
            status: entry.status,
            answered_by: entry.answered_by.as_deref(),
            received_bytes: entry.received_bytes,
            sent_bytes: entry.sent_bytes,
            first_byte_us: entry.first_byte_us,
            duration_us: entry.duration_us,
            client: asked.client.to_string(),
            protocol: &asked.protocol,
            tls: asked.tls.as_deref(),
            user_agent: asked.user_agent.as_deref(),
            referer: asked.referer.as_deref(),
            request_id: &asked.request_id,
            trace_id: &asked.trace_id,
            instance: entry.instance,
            release,
        }
    }
}

/// Which releases the instances of a batch run.
struct Releases<'a> {
    context: &'a Context,
    numbers: Numbers,
    known: HashMap<InstanceId, Option<i64>>,
}

impl<'a> Releases<'a> {
    fn new(context: &'a Context) -> Self {
        Self {
            context,
            numbers: Numbers::default(),
            known: HashMap::new(),
        }
    }

    /// None of an instance that is not there any more.
    async fn of(&mut self, entry: &AccessEntry) -> Result<Option<i64>, ApiError> {
        let Some(instance) = entry.instance else {
            return Ok(None);
        };
        if let Some(known) = self.known.get(&instance) {
            return Ok(*known);
        }
        for view in self.context.reconciler.instances(entry.environment) {
            let number = self.numbers.of(self.context, view.labels.release).await.ok();
            self.known.insert(view.labels.instance, number);
        }
        Ok(*self.known.entry(instance).or_insert(None))
    }
}

/// The instant from which a line is new to a receiver that has all before it.
fn parsed_ms(text: &str) -> Option<UnixMillis> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use weir_model::access_log::AccessRequest;

    use super::*;

    fn entry(path: &str, user_agent: &str) -> AccessEntry {
        AccessEntry {
            environment: EnvironmentId::from_parts(1, 1),
            app: AppName::new("shop").unwrap(),
            process: "web".to_owned(),
            at_ms: 1_700_000_000_123,
            request: AccessRequest {
                client: [9, 9, 9, 9].into(),
                method: "GET".to_owned(),
                host: "shop.localhost".to_owned(),
                path: path.to_owned(),
                query: None,
                protocol: "HTTP/1.1".to_owned(),
                tls: None,
                user_agent: Some(user_agent.to_owned()),
                referer: None,
                request_id: "r".to_owned(),
                trace_id: "t".to_owned(),
            },
            status: Some(200),
            answered_by: Some("app".to_owned()),
            instance: None,
            received_bytes: 1,
            sent_bytes: 2,
            first_byte_us: Some(3),
            duration_us: 4,
        }
    }

    #[test]
    fn a_line_is_one_object_whatever_clients_say() {
        let hostile = entry("/\u{2028}\n\r\"}", "\0\u{1b}[31m\"},{\"status\":200\n");
        let text = serde_json::to_string(&Line::of(&hostile, Some(7))).unwrap();
        assert!(!text.contains(['\n', '\r', '\0', '\u{1b}']));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["user_agent"], hostile.request.user_agent.unwrap());
        assert_eq!((&value["status"], &value["release"]), (&200.into(), &7.into()));
        assert_eq!(value["time"], "2023-11-14T22:13:20.123Z");
        assert!(value.get("query").is_none() && value.get("tls").is_none());
    }
}
