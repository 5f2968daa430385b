//! Commands with a terminal over WebSockets: `…/run` in a one-off container of the live
//! release, `…/exec` in a running instance. The frames are described at
//! [`weir_api::SessionMessage`].

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use weir_api::SessionMessage;
use weir_engine::{EngineError, InstanceLabels, InstanceRole, InstanceSpec, Session, SessionId};
use weir_model::log::LogStream;
use weir_model::project::EnvironmentMode;
use weir_model::release::Release;
use weir_model::spec::ProcessSpec;
use weir_model::{AppName, EnvironmentId, InstanceId, ProcessName};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::{InEnvironment, QueryOf};
use crate::context::Context;
use crate::status::{first_step, instances_of, live_release, main_app};
use crate::{projects, reconcile};

/// Longest frame of a client, in bytes.
const FRAME_BYTES: usize = 1 << 20;
/// Longest command, in bytes; the kernel takes no longer argument than 128 KiB.
const COMMAND_BYTES: usize = 100 << 10;
/// A client that does not answer to pings for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
const PING: Duration = Duration::from_secs(20);
/// Longest wait for a client to take what was written.
const SEND: Duration = Duration::from_secs(30);

/// The query of both sockets.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionQuery {
    /// A command line for `/bin/sh -c`.
    #[serde(default)]
    command: String,
    /// The app; absent: the main app.
    app: Option<String>,
    /// The process in whose instance it runs (`exec`).
    process: Option<String>,
    /// The instance in which it runs (`exec`).
    instance: Option<String>,
    /// Whether there is a terminal.
    #[serde(default)]
    terminal: bool,
    columns: Option<u16>,
    rows: Option<u16>,
}

/// Runs a command in a one-off container of the live release, over a WebSocket.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/run", tag = "sessions",
    params(("command" = String, Query, description = "Command line for /bin/sh -c"), ("app" = Option<String>, Query, description = "The app; absent: the main app"),
        ("terminal" = Option<bool>, Query, description = "Whether there is a terminal"), ("columns" = Option<u16>, Query, description = "Its width"), ("rows" = Option<u16>, Query, description = "Its height")),
    responses((status = 101, description = "A WebSocket with frames as in SessionMessage")))]
pub(super) async fn run_command(
    State(api): State<Api>,
    caller: Caller,
    at: InEnvironment,
    QueryOf(query): QueryOf<SessionQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgraded(upgrade)?;
    let spec = run_spec(&api.context, &at, &query).await?;
    Ok(upgrade.on_upgrade(move |socket| run_session(api.context, caller, spec, query, socket)))
}

/// Runs a command in a running instance, over a WebSocket.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/exec", tag = "sessions",
    params(("command" = String, Query, description = "Command line for /bin/sh -c"), ("app" = Option<String>, Query, description = "The app; absent: the main app"),
        ("process" = Option<String>, Query, description = "The process; absent: web"), ("instance" = Option<String>, Query, description = "The instance; absent: the first that is ready"),
        ("terminal" = Option<bool>, Query, description = "Whether there is a terminal"), ("columns" = Option<u16>, Query, description = "Its width"), ("rows" = Option<u16>, Query, description = "Its height")),
    responses((status = 101, description = "A WebSocket with frames as in SessionMessage")))]
pub(super) async fn exec_command(
    State(api): State<Api>,
    caller: Caller,
    at: InEnvironment,
    QueryOf(query): QueryOf<SessionQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgraded(upgrade)?;
    check_command(&query)?;
    let instance = exec_instance(&api.context, &at, &query).await?;
    Ok(upgrade.on_upgrade(move |socket| exec_session(api.context, caller, at.environment.id, instance, query, socket)))
}

fn upgraded(upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>) -> Result<WebSocketUpgrade, ApiError> {
    let upgrade = upgrade.map_err(|error| {
        ApiError::new(
            StatusCode::UPGRADE_REQUIRED,
            "websocket-needed",
            "this address is a WebSocket",
        )
        .with_detail(error.body_text())
        .with_hint("use `weir run` or `weir exec`")
    })?;
    Ok(upgrade.max_message_size(FRAME_BYTES).max_frame_size(FRAME_BYTES))
}

fn check_command(query: &SessionQuery) -> Result<(), ApiError> {
    let command = query.command.trim();
    if command.is_empty() || command.len() > COMMAND_BYTES || command.contains('\0') {
        return Err(
            ApiError::invalid("a command is needed").with_hint("for example `weir run python manage.py migrate`")
        );
    }
    Ok(())
}

/// The one-off container that a query asks for: image, variables, limits and volumes of the
/// live release.
async fn run_spec(context: &Context, at: &InEnvironment, query: &SessionQuery) -> Result<InstanceSpec, ApiError> {
    projects::ensure_alive(&at.project, Some(&at.environment))?;
    check_command(query)?;
    let Some(release) = live_release(context, &at.environment).await? else {
        return Err(nothing_runs(at));
    };
    let app = app_of(at, query, &release)?;
    let release_app = &release.apps[&app];
    if at.environment.mode == EnvironmentMode::Active && release_app.spec.is_exclusive() {
        return Err(ApiError::conflict(
            "one-writer",
            format!("a volume of `{app}` admits one writer, and its instance has it"),
        )
        .with_hint("run the command in the instance: `weir exec`"));
    }
    let process = ProcessName::new("run").map_err(ApiError::internal)?;
    let limits = release_app
        .spec
        .processes
        .get(&ProcessName::web())
        .cloned()
        .unwrap_or_else(ProcessSpec::default);
    let labels = InstanceLabels {
        instance: InstanceId::from_parts(context.clock.now_ms(), context.clock.random()),
        role: InstanceRole::Run,
        environment: at.environment.id,
        app: app.clone(),
        process,
        release: release.id,
        deployment: at.environment.live.ok_or_else(|| nothing_runs(at))?,
        port: None,
    };
    let domains = context.store.domain_list(at.environment.id).await?;
    let place = reconcile::Place {
        project: at.project.name.as_str(),
        environment: at.environment.name.as_str(),
        public_url: reconcile::public_url(&context.config, &domains, &app),
    };
    let mut variables = reconcile::variables(&context.sealer, &release, release_app, &place, &labels, &limits)?;
    if query.terminal {
        variables
            .entry("TERM".to_owned())
            .or_insert_with(|| "xterm-256color".to_owned());
    }
    let spec = reconcile::container(release_app, &limits, Some(query.command.clone()), labels, variables);
    Ok(InstanceSpec {
        terminal: query.terminal,
        interactive: true,
        ..spec
    })
}

fn app_of(at: &InEnvironment, query: &SessionQuery, release: &Release) -> Result<AppName, ApiError> {
    let names = || release.apps.keys().map(AppName::as_str).collect::<Vec<_>>().join(", ");
    match &query.app {
        Some(name) => {
            let found = AppName::new(name).ok().filter(|app| release.apps.contains_key(app));
            found.ok_or_else(|| {
                ApiError::invalid(format!("there is no app `{}`", shortened(name)))
                    .with_detail(format!("the apps are: {}", names()))
            })
        }
        None => main_app(&at.project, release)
            .or_else(|| release.apps.keys().next().cloned())
            .ok_or_else(|| nothing_runs(at)),
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(80).collect()
}

fn nothing_runs(at: &InEnvironment) -> ApiError {
    let environment = &at.environment;
    let error = ApiError::conflict(
        "nothing-runs",
        format!(
            "nothing runs in the environment `{}` of `{}`",
            environment.name, at.project.name
        ),
    );
    if environment.mode == EnvironmentMode::Paused {
        return error.with_hint("it is paused; start it again with `weir resume`");
    }
    if environment.live.is_some() {
        return error.with_hint("see `weir status` and `weir logs`; `weir run` needs no running instance");
    }
    error.with_hint(first_step(environment))
}

/// The instance that a query means: the one named, or the first that is ready.
async fn exec_instance(context: &Context, at: &InEnvironment, query: &SessionQuery) -> Result<InstanceId, ApiError> {
    let views = instances_of(context, &at.environment);
    if let Some(id) = &query.instance {
        let found = views.iter().find(|view| view.labels.instance.to_string() == *id);
        return found.map(|view| view.labels.instance).ok_or_else(|| {
            ApiError::not_found(
                "instance-not-found",
                format!("there is no instance `{}` in this environment", shortened(id)),
            )
            .with_hint("see `weir status`")
        });
    }
    let Some(release) = live_release(context, &at.environment).await? else {
        return Err(nothing_runs(at));
    };
    let app = app_of(at, query, &release)?;
    if let Some(name) = &query.process {
        let processes = &release.apps[&app].spec.processes;
        if !processes.keys().any(|process| process.as_str() == name) {
            let names: Vec<&str> = processes.keys().map(ProcessName::as_str).collect();
            return Err(
                ApiError::invalid(format!("the app `{app}` has no process `{}`", shortened(name)))
                    .with_detail(format!("its processes are: {}", names.join(", "))),
            );
        }
    }
    let process = query.process.as_deref().unwrap_or("web");
    let fits = |view: &&reconcile::InstanceView| {
        view.labels.app == app && (view.labels.process.as_str() == process || query.process.is_none())
    };
    let mut running: Vec<_> = views
        .iter()
        .filter(fits)
        .filter(|view| matches!(view.state, "ready" | "asleep" | "unchecked" | "starting" | "unhealthy"))
        .collect();
    running.sort_by_key(|view| {
        (
            !matches!(view.state, "ready" | "asleep"),
            view.labels.process.as_str() != process,
            view.labels.instance,
        )
    });
    running
        .first()
        .map(|view| view.labels.instance)
        .ok_or_else(|| nothing_runs(at))
}

async fn exec_session(
    context: Context,
    caller: Caller,
    environment: EnvironmentId,
    instance: InstanceId,
    query: SessionQuery,
    mut socket: WebSocket,
) {
    let engine = context.engine.as_ref();
    let _awake = context.reconciler.visit(engine, environment, instance).await;
    let command = ["/bin/sh".to_owned(), "-c".to_owned(), query.command.clone()];
    match context.engine.instance_exec(instance, &command, query.terminal).await {
        Ok(session) => {
            resize(&context, &session.id, query.columns, query.rows).await;
            talk(&context, caller, session, socket).await;
        }
        Err(error) => fail(&mut socket, &error).await,
    }
}

async fn run_session(context: Context, caller: Caller, spec: InstanceSpec, query: SessionQuery, mut socket: WebSocket) {
    let (instance, environment) = (spec.labels.instance, spec.labels.environment);
    // From here on until `session_ended` the reconciler leaves the container alone; if control
    // dies in between, the next one knows of no session and removes it.
    context.reconciler.session_started(instance);
    match start(&context, &spec, &query).await {
        Ok(session) => talk(&context, caller, session, socket).await,
        Err(error) => fail(&mut socket, &error).await,
    }
    if let Err(error) = context.engine.instance_remove(instance).await {
        tracing::warn!(instance.id = %instance, %error, "the container of a session is left to the reconciler");
    }
    context.reconciler.session_ended(instance, environment);
}

async fn start(context: &Context, spec: &InstanceSpec, query: &SessionQuery) -> Result<Session, EngineError> {
    context.engine.network_ensure(spec.labels.environment).await?;
    let secured = context
        .reconciler
        .secure(&context.money, spec, context.clock.now_ms())
        .await;
    secured.map_err(|reason| {
        let name = |variable| spec.variables.get(variable).map_or("", String::as_str);
        EngineError::Refused(reconcile::words_of(
            reason,
            name("WEIR_PROJECT"),
            name("WEIR_ENVIRONMENT"),
        ))
    })?;
    context.engine.instance_create(spec).await?;
    let session = context.engine.instance_attach(spec.labels.instance).await?;
    context.engine.instance_start(spec).await?;
    resize(context, &session.id, query.columns, query.rows).await;
    Ok(session)
}

async fn resize(context: &Context, session: &SessionId, columns: Option<u16>, rows: Option<u16>) {
    if let (Some(columns), Some(rows)) = (columns, rows)
        && let Err(error) = context
            .engine
            .session_resize(session, columns.max(1), rows.max(1))
            .await
    {
        tracing::debug!(%error, "a terminal was not resized");
    }
}

async fn fail(socket: &mut WebSocket, error: &EngineError) {
    let message = SessionMessage::Error {
        message: error.to_string(),
    };
    let _ = tokio::time::timeout(SEND, socket.send(text(&message))).await;
}

fn text(message: &SessionMessage) -> Message {
    Message::Text(serde_json::to_string(message).unwrap_or_default().into())
}

/// Carries bytes between a client and a command until either ends.
async fn talk(context: &Context, caller: Caller, session: Session, socket: WebSocket) {
    let Session { input, mut output, id } = session;
    let (mut sink, mut frames) = socket.split();
    // Input has its own task's worth of waiting: a command that does not read must not keep
    // its output from the client.
    let (to_command, from_client) = tokio::sync::mpsc::channel::<Bytes>(16);
    let writer = write_input(input, from_client);
    let changed = caller.changed(context.clone());
    tokio::pin!(writer, changed);
    let mut to_command = Some(to_command);
    let mut writing = true;
    let mut pings = tokio::time::interval(PING);
    let mut heard = tokio::time::Instant::now();
    let last = loop {
        tokio::select! {
            () = context.stop.cancelled() => break Some(SessionMessage::Error { message: "Weir is being stopped".to_owned() }),
            () = &mut changed => break Some(SessionMessage::Error { message: "you are signed out, or may something else now; connect again".to_owned() }),
            () = &mut writer, if writing => writing = false,
            piece = output.next() => match piece {
                Some(Ok((stream, bytes))) => {
                    if !send(&mut sink, Message::Binary(framed(stream, &bytes))).await {
                        break None;
                    }
                }
                Some(Err(error)) => break Some(SessionMessage::Error { message: error.to_string() }),
                None => break Some(ended(context, &id).await),
            },
            frame = frames.next(), if to_command.as_ref().is_none_or(|channel| channel.capacity() > 0) => {
                heard = tokio::time::Instant::now();
                match frame {
                    Some(Ok(Message::Binary(bytes))) => {
                        if let Some(channel) = &to_command {
                            let _ = channel.try_send(bytes);
                        }
                    }
                    Some(Ok(Message::Text(frame))) => match serde_json::from_str(frame.as_str()) {
                        Ok(SessionMessage::Eof) => to_command = None,
                        Ok(SessionMessage::Resize { columns, rows }) => resize(context, &id, Some(columns), Some(rows)).await,
                        _ => break Some(SessionMessage::Error { message: "this frame is not understood".to_owned() }),
                    },
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                }
            },
            _ = pings.tick() => {
                // While its input is full the client is not listened to, and is not silent.
                let full = to_command.as_ref().is_some_and(|channel| channel.capacity() == 0);
                if (heard.elapsed() > SILENCE && !full) || !send(&mut sink, Message::Ping(Bytes::new())).await {
                    break None;
                }
            }
        }
    };
    if let Some(last) = last {
        send(&mut sink, text(&last)).await;
        send(&mut sink, Message::Close(None)).await;
    }
}

async fn write_input(
    mut input: std::pin::Pin<Box<dyn tokio::io::AsyncWrite + Send>>,
    mut from_client: tokio::sync::mpsc::Receiver<Bytes>,
) {
    while let Some(bytes) = from_client.recv().await {
        if input.write_all(&bytes).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
    let _ = input.shutdown().await;
}

async fn send(sink: &mut (impl SinkExt<Message> + Unpin), message: Message) -> bool {
    matches!(tokio::time::timeout(SEND, sink.send(message)).await, Ok(Ok(())))
}

fn framed(stream: LogStream, bytes: &Bytes) -> Bytes {
    let mark = if stream == LogStream::Stderr { 2 } else { 1 };
    let mut frame = Vec::with_capacity(bytes.len() + 1);
    frame.push(mark);
    frame.extend_from_slice(bytes);
    frame.into()
}

async fn ended(context: &Context, id: &SessionId) -> SessionMessage {
    match context.engine.session_status(id).await {
        Ok(status) => SessionMessage::Exit { status },
        Err(error) => SessionMessage::Error {
            message: error.to_string(),
        },
    }
}
