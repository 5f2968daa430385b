//! Making stacks, each once a machine.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use weir_engine::{Engine, EngineError, ImageBuild};

use crate::build::{BuildError, BuildLine, Say, follow};
use crate::context::Context;
use crate::debootstrap::Debootstrap;
use crate::recipe::lent_environment;
use crate::stack::{Making, RECIPE_LABEL, STACK_LABEL, Stack};

/// Longest time for making one stack, in seconds.
const STACK_TIMEOUT_S: u32 = 1800;

/// What making stacks needs.
pub(crate) struct StackMaker<'a> {
    /// Where the images go.
    pub engine: &'a dyn Engine,
    /// The machine's certificate authorities.
    pub ca: Option<&'a [u8]>,
    /// A folder for scratch files.
    pub scratch: &'a Path,
    /// Who is told.
    pub say: Say<'a>,
}

/// Makes a stack if it is not there, for `weir up` to have it before the first push. `true` if
/// it was made now.
pub async fn ensure_stack(
    engine: &dyn Engine,
    stack: &Stack,
    ca_bundle: Option<&Path>,
    scratch: &Path,
    say: &(dyn Fn(BuildLine) + Send + Sync),
) -> Result<bool, BuildError> {
    let ca = match ca_bundle {
        Some(path) => Some(tokio::fs::read(path).await.map_err(|error| {
            BuildError::new(format!(
                "the certificate authorities in {} cannot be read: {error}",
                path.display()
            ))
        })?),
        None => None,
    };
    StackMaker {
        engine,
        ca: ca.as_deref(),
        scratch,
        say,
    }
    .ensure(stack)
    .await
}

/// Two builds at once must not make the same stack.
fn lock_of(tag: &str) -> Arc<tokio::sync::Mutex<()>> {
    static LOCKS: OnceLock<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>> = OnceLock::new();
    let mut locks = LOCKS
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    Arc::clone(locks.entry(tag.to_owned()).or_default())
}

impl StackMaker<'_> {
    /// Makes a stack, and what it is built on, unless it is there. `true` if it was made now.
    pub(crate) async fn ensure(&self, stack: &Stack) -> Result<bool, BuildError> {
        let tag = stack.tag();
        if self.is_there(stack).await? {
            return Ok(false);
        }
        let lock = lock_of(&tag);
        let _guard = match lock.try_lock() {
            Ok(guard) => guard,
            Err(_) => {
                (self.say)(BuildLine::Info(format!(
                    "waiting for another build that makes the stack {}",
                    stack.name()
                )));
                lock.lock().await
            }
        };
        if self.is_there(stack).await? {
            return Ok(false);
        }
        match stack.making() {
            Making::Debootstrap { suite } => {
                self.announce(stack);
                self.debootstrap(stack, &suite).await?;
            }
            Making::Dockerfile { on, text, files } => {
                Box::pin(self.ensure(&on)).await?;
                self.announce(stack);
                self.dockerfile(stack, text, files).await?;
            }
        }
        Ok(true)
    }

    fn announce(&self, stack: &Stack) {
        (self.say)(BuildLine::Step(format!(
            "Making the stack {} from {}, about {} s, once per machine",
            stack.name(),
            made_from(stack),
            stack.seconds()
        )));
    }

    async fn is_there(&self, stack: &Stack) -> Result<bool, EngineError> {
        let facts = self.engine.image_inspect(&stack.tag()).await?;
        Ok(facts.is_some_and(|facts| facts.labels.get(RECIPE_LABEL) == Some(&stack.recipe_version())))
    }

    fn labels(stack: &Stack) -> BTreeMap<String, String> {
        BTreeMap::from([
            (STACK_LABEL.to_owned(), stack.name()),
            (RECIPE_LABEL.to_owned(), stack.recipe_version()),
        ])
    }

    async fn debootstrap(&self, stack: &Stack, suite: &str) -> Result<(), BuildError> {
        let scratch = self.scratch.join("debootstrap");
        let started = Debootstrap::start(suite, &scratch)?;
        let Some((root, outcome)) = started.into_stream() else {
            return Err(BuildError::new("mmdebstrap has no output"));
        };
        let imported = self.engine.image_import(&stack.tag(), &Self::labels(stack), root).await;
        imported.map(|_| ()).map_err(|error| {
            let mut failed = BuildError::new(format!(
                "the stack {} cannot be made from Debian packages: {error}",
                stack.name()
            ));
            failed.lines = outcome.tail();
            failed.retryable = true;
            let missing = failed.lines.is_empty()
                || failed
                    .lines
                    .iter()
                    .any(|line| line.contains("No such file or directory"));
            failed.with_hint(if missing {
                "is mmdebstrap installed? apt-get install -y mmdebstrap debian-archive-keyring"
            } else {
                "can this machine reach its Debian mirror (`apt-get update`), and is there room on the disk (`df -h`)?"
            })
        })
    }

    async fn dockerfile(
        &self,
        stack: &Stack,
        text: String,
        files: Vec<(&'static str, &'static str)>,
    ) -> Result<(), BuildError> {
        let mut context = Context::empty();
        context.add("weir/env.sh", lent_environment(&BTreeMap::new(), self.ca.is_some()));
        if let Some(ca) = self.ca {
            context.add("weir/ca-certificates.crt", ca);
        }
        for (path, content) in files {
            context.add(path, content);
        }
        context.add("weir/Dockerfile", text);
        let request = ImageBuild {
            context: context.into_stream(),
            dockerfile: "weir/Dockerfile".to_owned(),
            target: None,
            arguments: BTreeMap::new(),
            labels: Self::labels(stack),
            tag: stack.tag(),
            timeout_s: STACK_TIMEOUT_S,
        };
        // What apt and npm write is of no interest unless it fails.
        let quiet = |_: BuildLine| {};
        follow(self.engine, request, &quiet)
            .await
            .map(|_| ())
            .map_err(|mut failed| {
                failed.message = format!("the stack {} cannot be made: {}", stack.name(), failed.message);
                failed
            })
    }
}

fn made_from(stack: &Stack) -> &'static str {
    match stack {
        Stack::Node { .. } => "the npm registry",
        _ => "Debian packages",
    }
}

/// The image that holds nothing but a bundle of certificate authorities, for Dockerfiles of
/// users to mount. Gives its reference.
pub(crate) async fn ca_image(engine: &dyn Engine, ca: &[u8]) -> Result<String, BuildError> {
    let digest = Sha256::digest(ca);
    let mut tag = "weir-stack/ca:".to_owned();
    for byte in digest.iter().take(8) {
        tag.push_str(&format!("{byte:02x}"));
    }
    let lock = lock_of(&tag);
    let _guard = lock.lock().await;
    if engine.image_inspect(&tag).await?.is_some() {
        return Ok(tag);
    }
    let mut context = Context::empty();
    context.add("ca-certificates.crt", ca);
    let labels = BTreeMap::from([(STACK_LABEL.to_owned(), tag.trim_start_matches("weir-stack/").to_owned())]);
    let root: weir_engine::BoxStream<std::io::Result<Bytes>> = context.into_stream();
    engine.image_import(&tag, &labels, root).await?;
    Ok(tag)
}
