//! Ships access logs to a collector: batches of lines by signed POST, each at least once and in
//! order. What is not taken is tried again, with pauses that grow to five minutes, for as long as
//! the lines are kept; how far it is, is remembered over restarts.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use weir_model::log::{LogLine, LogStream};
use weir_model::{EnvironmentId, UnixMillis};

use super::{parsed_ms, place};
use crate::api::ApiError;
use crate::api::present::instant;
use crate::billing::{self, Post, Poster, check_url};
use crate::context::Context;
use crate::logs::LogQuery;
use crate::secrets::Secret;

const SHIP: &str = "ship";
/// How far it is: the instant of the newest line that was taken.
const SENT: &str = "sent";
/// Why the last batch was not taken; absent while all is well.
const PROBLEM: &str = "problem";
/// Lines and bytes of one batch.
const LINES: usize = 500;
const BYTES: usize = 1 << 20;
/// Between two batches, so that few lines do not make many calls.
const GATHER: Duration = Duration::from_secs(1);
/// How often it is looked for what was set.
const LOOK: Duration = Duration::from_secs(2);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Where the access logs of an environment are shipped to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipping {
    /// The collector.
    pub url: String,
    /// It may lead to the machine itself and to private networks.
    pub private: bool,
    /// Lines from then on are shipped.
    pub since_ms: UnixMillis,
    /// Sealed.
    secret: String,
}

/// How shipping goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipped {
    /// Where to.
    pub shipping: Shipping,
    /// The instant of the newest line that was taken.
    pub sent_ms: Option<UnixMillis>,
    /// Why the last batch was not taken.
    pub problem: Option<String>,
}

/// Where an environment's access logs are shipped to, and how that goes.
pub async fn shipping(context: &Context, environment: EnvironmentId) -> Result<Option<Shipped>, ApiError> {
    let store = &context.store;
    let Some(text) = store.setting_get(&place(environment, SHIP)).await? else {
        return Ok(None);
    };
    let sent = store.setting_get(&place(environment, SENT)).await?;
    Ok(Some(Shipped {
        shipping: serde_json::from_str(&text).map_err(ApiError::internal)?,
        sent_ms: sent.as_deref().and_then(parsed_ms),
        problem: store.setting_get(&place(environment, PROBLEM)).await?,
    }))
}

/// Ships to a collector from now on. Returns the secret if one was made.
pub async fn set_shipping(
    context: &Context,
    environment: EnvironmentId,
    wanted: &weir_api::SetAccessLogShipping,
) -> Result<Option<Secret>, ApiError> {
    check_url(&wanted.url, wanted.allow_private).map_err(|words| {
        ApiError::invalid(words).with_hint(
            "what is on this machine or in a private network has to be allowed: `weir access-log ship URL --allow-private`",
        )
    })?;
    let before = shipping(context, environment).await?;
    let seal = |secret: &Secret| context.sealer.seal_text(&sealed_as(environment), secret.expose());
    let (sealed, made) = match (&wanted.secret, &before) {
        (Some(secret), _) => (seal(&billing::check_secret(secret)?)?, None),
        (None, Some(before)) => (before.shipping.secret.clone(), None),
        (None, None) => {
            let secret = billing::new_secret();
            (seal(&secret)?, Some(secret))
        }
    };
    let since_ms = before.map_or_else(|| context.clock.now_ms(), |before| before.shipping.since_ms);
    let shipping = Shipping {
        url: wanted.url.clone(),
        private: wanted.allow_private,
        since_ms,
        secret: sealed,
    };
    let text = serde_json::to_string(&shipping).map_err(ApiError::internal)?;
    context.store.setting_delete(&place(environment, PROBLEM)).await?;
    context.store.setting_set(&place(environment, SHIP), &text).await?;
    Ok(made)
}

/// Ships no more. Returns whether it did.
pub async fn unset_shipping(context: &Context, environment: EnvironmentId) -> Result<bool, ApiError> {
    let was = shipping(context, environment).await?.is_some();
    for name in [SHIP, SENT, PROBLEM] {
        context.store.setting_delete(&place(environment, name)).await?;
    }
    Ok(was)
}

fn sealed_as(environment: EnvironmentId) -> String {
    format!("access-log\0{environment}")
}

/// Ships until control stops.
pub async fn run(context: Context) {
    let poster = Poster::new(context.config.ca_bundle.as_deref());
    let tasks = TaskTracker::new();
    let mut running: HashMap<EnvironmentId, (Shipping, DropGuard)> = HashMap::new();
    loop {
        match wanted(&context).await {
            Ok(wanted) => {
                running.retain(|environment, (shipping, _)| wanted.get(environment) == Some(shipping));
                for (environment, shipping) in wanted {
                    running.entry(environment).or_insert_with(|| {
                        let stop = context.stop.child_token();
                        let carrier = Carrier {
                            context: context.clone(),
                            poster: poster.clone(),
                            environment,
                            shipping: shipping.clone(),
                        };
                        start(&tasks, carrier, stop.clone());
                        (shipping, stop.drop_guard())
                    });
                }
            }
            Err(error) => tracing::warn!(%error, "where access logs are shipped to could not be read; trying again"),
        }
        tokio::select! {
            () = context.stop.cancelled() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    drop(running);
    tasks.close();
    tasks.wait().await;
}

fn start(tasks: &TaskTracker, carrier: Carrier, stop: CancellationToken) {
    let span = tracing::info_span!("access log shipping", environment.id = %carrier.environment);
    // Dropped in the middle it loses nothing: what was not noted as sent is sent again.
    let work = async move {
        let _ = stop.run_until_cancelled(carrier.carry()).await;
    };
    tasks.spawn(work.instrument(span));
}

async fn wanted(context: &Context) -> Result<HashMap<EnvironmentId, Shipping>, ApiError> {
    let settings = context.store.setting_list("access-log/").await?;
    let read = |(name, value): &(String, String)| {
        let mut parts = name.split('/').skip(1);
        let environment = parts.next()?.parse().ok()?;
        (parts.next() == Some(SHIP)).then_some(())?;
        Some((environment, serde_json::from_str(value).ok()?))
    };
    Ok(settings.iter().filter_map(read).collect())
}

/// Carries the lines of one environment.
struct Carrier {
    context: Context,
    poster: Poster,
    environment: EnvironmentId,
    shipping: Shipping,
}

impl Carrier {
    async fn carry(&self) {
        let place_of_secret = sealed_as(self.environment);
        let secret = match self.context.sealer.open_text(&place_of_secret, &self.shipping.secret) {
            Ok(secret) => secret,
            Err(error) => {
                tracing::error!(%error, "the secret for shipping an access log cannot be opened; set it anew with `weir access-log ship`");
                return;
            }
        };
        let sent = self.context.store.setting_get(&place(self.environment, SENT)).await;
        let sent_ms = sent.ok().flatten().as_deref().and_then(parsed_ms);
        let query = LogQuery {
            access: true,
            since_ms: Some(begin(sent_ms, self.shipping.since_ms)),
            // From the oldest line that is kept.
            limit: 0,
            ..LogQuery::new(self.environment)
        };
        let mut lines = pin!(self.context.logs.follow(query).ready_chunks(LINES));
        while let Some(lines) = lines.next().await {
            for batch in batches(lines) {
                self.deliver(&secret, &batch).await;
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Returns once the collector has taken it.
    async fn deliver(&self, secret: &Secret, lines: &[LogLine]) {
        let mut pause = SHORTEST_PAUSE;
        let mut told = false;
        loop {
            let post = Post {
                url: &self.shipping.url,
                private: self.shipping.private,
                secret,
                kind: "access-log",
                content_type: "application/x-ndjson",
                body: body_of(lines),
            };
            let Err(problem) = self.poster.post(post, self.context.clock.now_ms()).await else {
                break;
            };
            tracing::debug!(
                problem,
                "a collector does not take lines of an access log; trying again"
            );
            if !told {
                self.note(PROBLEM, Some(&problem)).await;
                told = true;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if let Some(last) = lines.last() {
            self.note(SENT, Some(&last.at_ms.to_string())).await;
        }
        self.note(PROBLEM, None).await;
    }

    async fn note(&self, name: &str, value: Option<&str>) {
        let (store, name) = (&self.context.store, place(self.environment, name));
        let noted = match value {
            Some(value) => store.setting_set(&name, value).await,
            None => store.setting_delete(&name).await,
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "how far an access log is shipped could not be noted; lines may be shipped twice");
        }
    }
}

/// From when on lines are shipped: those behind the newest that was taken, and never those from before
/// shipping was switched on, whatever was noted of an earlier time.
fn begin(sent_ms: Option<UnixMillis>, since_ms: UnixMillis) -> UnixMillis {
    sent_ms.map_or(since_ms, |sent_ms| sent_ms.max(since_ms))
}

/// Cuts lines into batches of bounded size.
fn batches(lines: Vec<LogLine>) -> Vec<Vec<LogLine>> {
    let mut batches: Vec<Vec<LogLine>> = Vec::new();
    let mut bytes = BYTES;
    for line in lines {
        bytes += line.text.len() + 1;
        if bytes > BYTES {
            bytes = line.text.len() + 1;
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(line);
        }
    }
    batches
}

/// One JSON object a line; what Weir itself says of the log is one, too.
fn body_of(lines: &[LogLine]) -> String {
    let mut body = String::new();
    for line in lines {
        match line.stream {
            LogStream::Weir => {
                let told = serde_json::json!({ "time": instant(line.at_ms), "app": line.app, "weir": line.text });
                body.push_str(&told.to_string());
            }
            LogStream::Stdout | LogStream::Stderr => body.push_str(&line.text),
        }
        body.push('\n');
    }
    body
}

#[cfg(test)]
mod tests {
    use weir_model::{AppName, ProcessName};

    use super::*;

    fn line(stream: LogStream, text: String) -> LogLine {
        LogLine {
            at_ms: 1_700_000_000_000,
            app: AppName::new("shop").unwrap(),
            process: ProcessName::new("access").unwrap(),
            instance: None,
            stream,
            text,
        }
    }

    #[test]
    fn batches_are_bounded_and_keep_the_order() {
        let lines: Vec<_> = (0..300)
            .map(|index| line(LogStream::Stdout, format!("{index:010000}")))
            .collect();
        let cut = batches(lines.clone());
        assert!(cut.len() > 2 && cut.iter().all(|batch| body_of(batch).len() <= BYTES));
        assert_eq!(cut.concat(), lines);
        assert!(batches(Vec::new()).is_empty());
        assert_eq!(batches(vec![line(LogStream::Stdout, "x".repeat(BYTES + 1))]).len(), 1);
    }

    #[test]
    fn nothing_from_before_it_was_switched_on_is_shipped() {
        assert_eq!(begin(None, 100), 100);
        assert_eq!(begin(Some(150), 100), 150);
        assert_eq!(begin(Some(50), 100), 100, "noted by a carrier that was on its way out");
    }

    #[test]
    fn every_line_of_a_batch_is_json() {
        let said = line(LogStream::Weir, "7 requests\nare left out".to_owned());
        let body = body_of(&[line(LogStream::Stdout, "{\"a\":1}".to_owned()), said]);
        let lines: Vec<serde_json::Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&lines[0]["a"], &lines[1]["weir"]),
            (&1.into(), &"7 requests\nare left out".into())
        );
        assert_eq!(lines[1]["time"], "2023-11-14T22:13:20.000Z");
    }
}
