//! Making the image of one app.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use weir_engine::{BuildEvent, Engine, EngineError, ImageBuild, ImageFacts};
use weir_model::ProcessName;
use weir_model::spec::AppSpec;

use crate::context::Context;
use crate::hints;
use crate::plan::{AppPlan, Base, Recipe};
use crate::recipe::{self, Surroundings, lent_environment, rewrite};
use crate::source::Source;
use crate::stack::Stack;
use crate::stack_build::{StackMaker, ca_image};

/// Lines of output that an error carries.
const TAIL: usize = 40;
/// Longest Dockerfile, in bytes.
const DOCKERFILE_BYTES: usize = 1 << 20;

/// A line for those who watch a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildLine {
    /// A step begins.
    Step(String),
    /// A detail of it.
    Info(String),
    /// What a command of the build wrote.
    Output(String),
}

/// Who is told how a build goes on.
pub(crate) type Say<'a> = &'a (dyn Fn(BuildLine) + Send + Sync);

/// What a build needs beside the source.
#[derive(Clone)]
pub struct BuildOptions {
    /// Reference to tag the image with.
    pub tag: String,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Variables that are marked for the build.
    pub build_variables: BTreeMap<String, String>,
    /// The machine's bundle of certificate authorities, lent to every step.
    pub ca_bundle: Option<PathBuf>,
    /// Keeps the package caches of projects apart; letters, digits and `-`.
    pub cache_key: String,
    /// Longest time for the build of the app, in seconds; making stacks is not counted.
    pub timeout_s: u32,
    /// A folder for scratch files while a stack is made.
    pub stack_folder: PathBuf,
}

impl std::fmt::Debug for BuildOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Variables may be secrets.
        f.debug_struct("BuildOptions")
            .field("tag", &self.tag)
            .field("cache_key", &self.cache_key)
            .finish_non_exhaustive()
    }
}

/// An image that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltApp {
    /// The image by content (`sha256:…`).
    pub image: String,
    /// The app, completed by what the image says of itself.
    pub spec: AppSpec,
    /// How long the steps took, in order.
    pub steps: Vec<(String, Duration)>,
}

/// Why an image could not be made, in words for the person who pushed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BuildError {
    /// What went wrong.
    pub message: String,
    /// What to try.
    pub hint: Option<String>,
    /// The lines of output that tell most.
    pub lines: Vec<String>,
    /// Whether the same build may succeed later without any change.
    pub retryable: bool,
}

impl BuildError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            lines: Vec::new(),
            retryable: false,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<EngineError> for BuildError {
    fn from(error: EngineError) -> Self {
        Self {
            retryable: error.retryable(),
            ..Self::new(error.to_string())
        }
    }
}

/// Makes the image of an app. Says what it does line by line. Dropping the future stops it;
/// stacks that were finished stay.
pub async fn build_app(
    engine: &dyn Engine,
    source: &Source,
    plan: &AppPlan,
    options: &BuildOptions,
    say: Say<'_>,
) -> Result<BuiltApp, BuildError> {
    let ca = read_ca(options).await?;
    let maker = StackMaker {
        engine,
        ca: ca.as_deref(),
        scratch: &options.stack_folder,
        say,
    };
    let mut steps = Vec::new();
    let prepared = prepare(source, plan, options, &maker, &mut steps).await?;
    let image = match prepared {
        Prepared::Image(reference) => reference,
        Prepared::Build(build) => {
            say(BuildLine::Step(format!("Building {}", plan.spec.name)));
            let started = Instant::now();
            let image = run_with_fallback(engine, source, plan, options, &build, say).await?;
            steps.push((format!("build {}", plan.spec.name), started.elapsed()));
            image
        }
    };
    let facts = engine
        .image_inspect(&image)
        .await?
        .ok_or_else(|| BuildError::new(format!("the image {image} is gone right after it was made")))?;
    let spec = complete(plan, &facts, say)?;
    Ok(BuiltApp {
        image: facts.id,
        spec,
        steps,
    })
}

async fn read_ca(options: &BuildOptions) -> Result<Option<Vec<u8>>, BuildError> {
    let Some(path) = &options.ca_bundle else {
        return Ok(None);
    };
    tokio::fs::read(path).await.map(Some).map_err(|error| {
        BuildError::new(format!(
            "the certificate authorities in {} cannot be read: {error}",
            path.display()
        ))
    })
}

/// What is to be done.
enum Prepared {
    /// An image that exists.
    Image(String),
    /// A build.
    Build(Build),
}

/// A build with everything but the app's files.
struct Build {
    dockerfile_path: String,
    dockerfile: String,
    /// The same without the line that fetches a frontend, if there is one.
    dockerfile_plain: Option<String>,
    files: BTreeMap<String, Vec<u8>>,
    target: Option<String>,
    arguments: BTreeMap<String, String>,
    left_out: &'static [&'static str],
    is_users: bool,
}

async fn prepare(
    source: &Source,
    plan: &AppPlan,
    options: &BuildOptions,
    maker: &StackMaker<'_>,
    steps: &mut Vec<(String, Duration)>,
) -> Result<Prepared, BuildError> {
    if let Recipe::Image { reference } = &plan.image.recipe {
        ensure_image(maker, reference, steps).await?;
        return Ok(Prepared::Image(reference.clone()));
    }
    if let Recipe::Dockerfile {
        path,
        target,
        arguments,
    } = &plan.image.recipe
    {
        let build = users_build(
            source,
            plan,
            options,
            maker,
            steps,
            (path, target.as_deref(), arguments),
        )
        .await?;
        return Ok(Prepared::Build(build));
    }
    let around = Surroundings {
        cache_key: &options.cache_key,
        has_ca: maker.ca.is_some(),
    };
    let Some(mut written) = recipe::write(plan, &around) else {
        return Err(BuildError::new("there is no recipe for this app"));
    };
    for stack in &written.stacks {
        ensure_stack_timed(maker, stack, steps).await?;
    }
    for reference in &written.images {
        ensure_image(maker, reference, steps).await?;
    }
    written.files.insert(
        "weir/lent/env.sh".to_owned(),
        lent_environment(&options.build_variables, maker.ca.is_some()).into_bytes(),
    );
    if let Some(ca) = maker.ca {
        written
            .files
            .insert("weir/lent/ca-certificates.crt".to_owned(), ca.to_vec());
    }
    Ok(Prepared::Build(Build {
        dockerfile_path: "weir/Dockerfile".to_owned(),
        dockerfile: written.dockerfile,
        dockerfile_plain: None,
        files: written.files,
        target: None,
        arguments: BTreeMap::new(),
        left_out: written.left_out,
        is_users: false,
    }))
}

async fn users_build(
    source: &Source,
    plan: &AppPlan,
    options: &BuildOptions,
    maker: &StackMaker<'_>,
    steps: &mut Vec<(String, Duration)>,
    (path, target, arguments): (&str, Option<&str>, &BTreeMap<String, String>),
) -> Result<Build, BuildError> {
    let full = if plan.folder.is_empty() {
        path.to_owned()
    } else {
        format!("{}/{path}", plan.folder)
    };
    let bytes = source
        .read(&full, DOCKERFILE_BYTES + 1)
        .ok_or_else(|| BuildError::new(format!("there is no Dockerfile at `{full}`")))?;
    if bytes.len() > DOCKERFILE_BYTES {
        return Err(BuildError::new(format!(
            "{full} is longer than {DOCKERFILE_BYTES} bytes"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| BuildError::new(format!("{full} is not UTF-8 text")))?;
    let outline = rewrite::outline(&text);
    for stack in outline.bases.iter().filter_map(|base| Stack::from_tag(base)) {
        ensure_stack_timed(maker, &stack, steps).await?;
    }
    let ca_image = match maker.ca {
        Some(ca) => Some(ca_image(maker.engine, ca).await?),
        None => None,
    };
    let mut changes = rewrite::Changes {
        ca_image: ca_image.as_deref(),
        keep_ca: plan.image.trust_ca,
        target,
        without_syntax: false,
    };
    let dockerfile = rewrite::rewrite(&text, &changes);
    changes.without_syntax = true;
    let dockerfile_plain = outline.has_syntax.then(|| rewrite::rewrite(&text, &changes));
    // Variables for the build reach a Dockerfile that declares them, and no other.
    let declared = options
        .build_variables
        .iter()
        .filter(|(name, _)| outline.arguments.contains(*name));
    let mut all: BTreeMap<String, String> = declared.map(|(name, value)| (name.clone(), value.clone())).collect();
    all.extend(arguments.iter().map(|(name, value)| (name.clone(), value.clone())));
    Ok(Build {
        dockerfile_path: path.to_owned(),
        dockerfile,
        dockerfile_plain,
        files: BTreeMap::new(),
        target: target.map(str::to_owned),
        arguments: all,
        left_out: &[],
        is_users: true,
    })
}

async fn ensure_stack_timed(
    maker: &StackMaker<'_>,
    stack: &Stack,
    steps: &mut Vec<(String, Duration)>,
) -> Result<(), BuildError> {
    let started = Instant::now();
    if maker.ensure(stack).await? {
        steps.push((format!("stack {}", stack.name()), started.elapsed()));
    }
    Ok(())
}

/// Makes sure that an image is on this machine: a stack is made, another one is fetched.
async fn ensure_image(
    maker: &StackMaker<'_>,
    reference: &str,
    steps: &mut Vec<(String, Duration)>,
) -> Result<(), BuildError> {
    if let Some(stack) = Stack::from_tag(reference) {
        return ensure_stack_timed(maker, &stack, steps).await;
    }
    if maker.engine.image_inspect(reference).await?.is_some() {
        return Ok(());
    }
    (maker.say)(BuildLine::Step(format!("Fetching the image {reference}")));
    let started = Instant::now();
    maker.engine.image_pull(reference).await.map_err(|error| {
        let mut failed = BuildError::new(format!("the image {reference} cannot be had: {error}"));
        failed.retryable = error.retryable();
        failed.with_hint(hints::WITHOUT_REGISTRY)
    })?;
    steps.push((format!("fetch {reference}"), started.elapsed()));
    Ok(())
}

/// Builds; a Dockerfile that wants a frontend from a registry that cannot be reached is built
/// with the one of the engine.
async fn run_with_fallback(
    engine: &dyn Engine,
    source: &Source,
    plan: &AppPlan,
    options: &BuildOptions,
    build: &Build,
    say: Say<'_>,
) -> Result<String, BuildError> {
    let failed = match run(engine, source, plan, options, build, &build.dockerfile, say).await {
        Ok(image) => return Ok(image),
        Err(failed) => failed,
    };
    match &build.dockerfile_plain {
        Some(plain) if failed.message.contains("docker/dockerfile") => {
            say(BuildLine::Info(
                "the frontend named by `# syntax=` cannot be fetched; building with the engine's own".to_owned(),
            ));
            run(engine, source, plan, options, build, plain, say).await
        }
        _ => Err(failed),
    }
}

async fn run(
    engine: &dyn Engine,
    source: &Source,
    plan: &AppPlan,
    options: &BuildOptions,
    build: &Build,
    dockerfile: &str,
    say: Say<'_>,
) -> Result<String, BuildError> {
    let mut context = if build.is_users {
        let mut context = Context::new(source, &plan.folder, "", build.left_out);
        context.honour_dockerignore(&build.dockerfile_path);
        context
    } else {
        Context::new(source, &plan.folder, "app/", build.left_out)
    };
    for (path, content) in &build.files {
        context.add(path, content.clone());
    }
    context.add(&build.dockerfile_path, dockerfile);
    let request = ImageBuild {
        context: context.into_stream(),
        dockerfile: build.dockerfile_path.clone(),
        target: build.target.clone(),
        arguments: build.arguments.clone(),
        labels: options.labels.clone(),
        tag: options.tag.clone(),
        timeout_s: options.timeout_s,
    };
    follow(engine, request, say).await
}

/// Runs a build to its end, telling of it on the way.
pub(crate) async fn follow(engine: &dyn Engine, request: ImageBuild, say: Say<'_>) -> Result<String, BuildError> {
    let mut events = engine.image_build(request).await?;
    let mut tail: VecDeque<String> = VecDeque::with_capacity(TAIL);
    while let Some(event) = events.next().await {
        match event {
            BuildEvent::Step { name, cached } => {
                if let Some(line) = step_line(&name, cached) {
                    say(BuildLine::Info(line));
                }
            }
            BuildEvent::Output(line) => {
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line.clone());
                say(BuildLine::Output(line));
            }
            BuildEvent::Done { image } => return Ok(image),
            BuildEvent::Failed { message } => return Err(hints::explain(&message, tail.into())),
        }
    }
    Err(BuildError {
        retryable: true,
        ..BuildError::new("the container engine ended the build without a word")
    })
}

/// The builder's step in our words, if it is worth a line.
fn step_line(name: &str, cached: bool) -> Option<String> {
    if name.contains("[internal]") || name.starts_with("exporting") || name.contains("docker-image://") {
        return None;
    }
    let done = if cached { " (as before)" } else { "" };
    let ours = [
        ("sh /run/weir-install.sh", "installing dependencies"),
        ("sh /run/weir-tool.sh", "installing the packaging tool"),
        ("sh /run/weir-manager.sh", "installing the package manager"),
        ("sh /run/weir-prune.sh", "leaving out what is only for development"),
        ("sh /run/weir-build.sh", "running the build command"),
        ("sh /run/weir/node.sh", "fetching Node.js"),
        ("apt-get install", "installing Debian packages"),
    ];
    if let Some((_, words)) = ours.iter().find(|(sign, _)| name.contains(sign)) {
        return Some(format!("{words}{done}"));
    }
    let own = name.contains(" app/")
        || name.contains("/opt/venv")
        || name.contains("weir-stack/")
        || name.contains("mkdir -p /app")
        || name.contains("--from=")
        || name.ends_with("WORKDIR /app");
    (!own).then(|| format!("{}{done}", crate::detect::one_line(name)))
}

/// Completes the specification by what the image says of itself.
fn complete(plan: &AppPlan, facts: &ImageFacts, say: Say<'_>) -> Result<AppSpec, BuildError> {
    let mut spec = plan.spec.clone();
    let without: Vec<&str> = spec
        .processes
        .iter()
        .filter(|(_, process)| process.command.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if let (Some(process), false) = (without.first(), facts.has_command) {
        return Err(BuildError::new(format!(
            "the process `{process}` has no command, and the image starts nothing by itself"
        ))
        .with_hint("add CMD to the Dockerfile, or a line `web: …` to a Procfile"));
    }
    let foreign = match &plan.image.recipe {
        Recipe::Dockerfile { .. } | Recipe::Image { .. } => true,
        Recipe::Python(python) => matches!(python.base, Base::Image(_)),
        Recipe::Node(node) => matches!(node.base, Base::Image(_)),
        Recipe::Static { .. } => false,
    };
    if plan.port_is_set || !foreign {
        return Ok(spec);
    }
    let usual = [8000, 8080, 3000, 5000, 80];
    let port = usual
        .into_iter()
        .find(|port| facts.exposed_ports.contains(port))
        .or(facts.exposed_ports.first().copied());
    if let Some(port) = port
        && let Some(web) = spec.processes.get_mut(&ProcessName::web())
    {
        say(BuildLine::Info(format!(
            "web listens on port {port} (from EXPOSE of the image)"
        )));
        web.port = port;
    }
    Ok(spec)
}
