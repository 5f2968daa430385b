//! The builder that is used outside of tests: the room `build`, with the lines of each build in
//! the task and in the logs.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::sync::mpsc;
use weir_build::{AppPlan, BuildLine, BuildOptions, Source, SourceLimits};
use weir_engine::docker::DockerOptions;
use weir_ledger::wallet::NoMoney;
use weir_model::files::WEIR_TOML;
use weir_model::log::{LogLine, LogStream};
use weir_model::release::ReleaseApp;
use weir_model::task::LineKind;
use weir_model::{AppName, ProcessName};

use super::{BuildOrder, Builder, PushError};
use crate::context::Context;
use crate::reconcile;

/// Lines that may wait until they are written; a build that is faster loses lines, and says so.
const LINES: usize = 16_384;
/// Lines that are taken at once.
const BATCH: usize = 512;
/// Lines of a failed build that are said once more beside its error.
const TELLING_LINES: usize = 8;
/// Longest time for the build of one app, in seconds.
const TIMEOUT_S: u32 = 3600;

/// Builds in containers.
#[derive(Debug, Clone, Copy, Default)]
pub struct ContainerBuilder;

#[async_trait]
impl Builder for ContainerBuilder {
    async fn build(
        &self,
        context: &Context,
        order: &BuildOrder<'_>,
    ) -> Result<BTreeMap<AppName, ReleaseApp>, PushError> {
        let main_app = AppName::new(order.project.name.as_str()).map_err(|error| PushError::new(error.to_string()))?;
        let (source, plans) = detect(order, main_app).await?;
        let installation = context
            .store
            .setting_get("installation")
            .await?
            .unwrap_or_else(|| "weir".to_owned());
        let variables = build_variables(context, order).await?;
        let mut apps = BTreeMap::new();
        for plan in &plans {
            let app = plan.spec.name.clone();
            context.tasks.step(order.task, &format!("Detected {app}")).await;
            for finding in &plan.findings {
                context.tasks.line(order.task, LineKind::Info, finding).await;
            }
            let options = options(context, order, &installation, &app, variables.clone());
            let built = build_app(context, order, &source, plan, &options).await?;
            apps.insert(app, built);
        }
        Ok(apps)
    }
}

async fn detect(order: &BuildOrder<'_>, main_app: AppName) -> Result<(Source, Vec<AppPlan>), PushError> {
    let (archive, scratch) = (order.archive.to_owned(), order.scratch.to_owned());
    let toml = order.toml.map(str::to_owned);
    let detected = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(archive)?;
        let refused = |error: weir_build::SourceError| {
            PushError::new(error.to_string()).with_hint("remove it from the source, then push again")
        };
        let mut source = Source::from_archive(file, &SourceLimits::default(), &scratch).map_err(refused)?;
        if let Some(toml) = toml {
            source = source.with_file(WEIR_TOML, toml.as_bytes()).map_err(refused)?;
        }
        let plans = weir_build::detect(&source, &main_app).map_err(|error| PushError::new(error.to_string()))?;
        Ok((source, plans))
    });
    detected
        .await
        .map_err(|error| PushError::new(format!("reading the source broke off: {error}")))?
}

async fn build_variables(context: &Context, order: &BuildOrder<'_>) -> Result<BTreeMap<String, String>, PushError> {
    let mut variables = BTreeMap::new();
    let environment = order.environment.id;
    for variable in context
        .store
        .variable_list(environment)
        .await?
        .iter()
        .filter(|variable| variable.build)
    {
        let value = context
            .sealer
            .value_of(environment, variable)
            .map_err(|error| PushError::new(error.to_string()))?;
        variables.insert(variable.name.to_string(), value.into_exposed());
    }
    Ok(variables)
}

fn options(
    context: &Context,
    order: &BuildOrder<'_>,
    installation: &str,
    app: &AppName,
    build_variables: BTreeMap<String, String>,
) -> BuildOptions {
    let (project, environment) = (&order.project.name, &order.environment.name);
    let task = order.task.to_string();
    // The random end of the identifier; its beginning is the time, which builds of a day share.
    let short = &task[task.len().saturating_sub(12)..];
    let labels = [
        ("weir.installation", installation.to_owned()),
        ("weir.project", order.project.id.to_string()),
        ("weir.environment", order.environment.id.to_string()),
        ("weir.app", app.to_string()),
    ];
    BuildOptions {
        tag: format!("weir/{installation}/{project}-{environment}-{app}:{short}"),
        labels: labels
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        build_variables,
        ca_bundle: context.config.ca_bundle.clone(),
        cache_key: format!("{}-{app}", order.environment.id).replace('_', "-"),
        timeout_s: TIMEOUT_S,
        stack_folder: context.config.data.join("stacks"),
    }
}

async fn build_app(
    context: &Context,
    order: &BuildOrder<'_>,
    source: &Source,
    plan: &AppPlan,
    options: &BuildOptions,
) -> Result<ReleaseApp, PushError> {
    let (sender, receiver) = mpsc::channel(LINES);
    let lines = Lines {
        sender: Mutex::new(Some(sender)),
        lost: AtomicU64::new(0),
    };
    let budget = context.money.build_budget(
        order.environment.id,
        &plan.spec.name,
        DockerOptions::BUILD_CPU_MILLI,
        DockerOptions::BUILD_MEMORY_BYTES,
    );
    let build = async {
        let take = |line| lines.take(line);
        let work = weir_build::build_app(&*context.engine, source, plan, options, &take);
        let built = budget.pay_for(work).await;
        lines.close();
        built
    };
    let (built, ()) = tokio::join!(build, forward(context, order, &plan.spec.name, receiver));
    let built = built.map_err(|reason| unpaid(order, reason))?;
    let lost = lines.lost.load(Ordering::Relaxed);
    if lost > 0 {
        let text = format!("{lost} lines are left out: the build wrote faster than they could be kept");
        context.tasks.line(order.task, LineKind::Info, &text).await;
    }
    match built {
        Ok(built) => {
            let steps = built
                .steps
                .iter()
                .map(|(name, took)| format!("{name} {:.1} s", took.as_secs_f64()));
            let steps = steps.collect::<Vec<_>>().join(", ");
            if !steps.is_empty() {
                context.tasks.line(order.task, LineKind::Info, &steps).await;
            }
            Ok(ReleaseApp {
                image: built.image,
                spec: built.spec,
            })
        }
        Err(error) => {
            for line in error.lines.iter().rev().take(TELLING_LINES).rev() {
                context.tasks.line(order.task, LineKind::Error, line).await;
            }
            let error = PushError {
                message: error.message,
                hint: error.hint,
            };
            let entry = log_line(
                context,
                &plan.spec.name,
                LogStream::Weir,
                format!("failed: {}", error.message),
            );
            context.logs.append(order.environment.id, entry.as_slice()).await;
            Err(error)
        }
    }
}

/// Why a build did not begin, or ended in the middle.
fn unpaid(order: &BuildOrder<'_>, reason: NoMoney) -> PushError {
    let (project, environment) = (order.project.name.as_str(), order.environment.name.as_str());
    PushError::new(format!(
        "the build is not paid for: {}",
        reconcile::words_of(reason, project, environment)
    ))
    .with_hint(format!(
        "see `weir cap {project}`; a higher cap is set with `weir cap set {project} AMOUNT/month`"
    ))
}

/// Takes lines from the build, which must not wait.
#[derive(Debug)]
struct Lines {
    sender: Mutex<Option<mpsc::Sender<BuildLine>>>,
    lost: AtomicU64,
}

impl Lines {
    fn take(&self, line: BuildLine) {
        let sender = self.sender.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if sender.as_ref().is_none_or(|sender| sender.try_send(line).is_err()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn close(&self) {
        self.sender
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
    }
}

/// Passes the lines of a build on to its task and to the logs.
async fn forward(context: &Context, order: &BuildOrder<'_>, app: &AppName, mut lines: mpsc::Receiver<BuildLine>) {
    let mut batch = Vec::with_capacity(BATCH);
    while lines.recv_many(&mut batch, BATCH).await > 0 {
        let mut entries = Vec::with_capacity(batch.len());
        for line in batch.drain(..) {
            let (kind, stream, text) = match line {
                BuildLine::Step(text) => (LineKind::Step, LogStream::Weir, text),
                BuildLine::Info(text) => (LineKind::Info, LogStream::Weir, text),
                BuildLine::Output(text) => (LineKind::Output, LogStream::Stdout, text),
            };
            match kind {
                LineKind::Step => context.tasks.step(order.task, &text).await,
                kind => context.tasks.line(order.task, kind, &text).await,
            }
            entries.extend(log_line(context, app, stream, text));
        }
        context.logs.append(order.environment.id, &entries).await;
    }
}

fn log_line(context: &Context, app: &AppName, stream: LogStream, text: String) -> Option<LogLine> {
    let process = ProcessName::new("build").ok()?;
    Some(LogLine {
        at_ms: context.clock.now_ms(),
        app: app.clone(),
        process,
        instance: None,
        stream,
        text,
    })
}
