//! How the image of an app is to be made: the outcome of the detection, the input of the
//! recipes. Plain data.

use std::collections::BTreeMap;

use weir_model::spec::AppSpec;

use crate::stack::Stack;

/// One app of a source, and how to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPlan {
    /// What it is, complete but for facts that only the built image tells.
    pub spec: AppSpec,
    /// Its folder in the source; empty for the root.
    pub folder: String,
    /// How its image is made.
    pub image: ImagePlan,
    /// What was found and in which file, one line each: `Python 3.13 (from .python-version)`.
    pub findings: Vec<String>,
    /// Whether the sources named a port, so that the image's `EXPOSE` does not matter.
    pub port_is_set: bool,
}

/// How an image is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePlan {
    /// The way.
    pub recipe: Recipe,
    /// Debian packages that are needed to build.
    pub build_packages: Vec<String>,
    /// Debian packages that are needed to run.
    pub run_packages: Vec<String>,
    /// Whether the machine's certificate authorities stay in the image.
    pub trust_ca: bool,
}

/// The ways to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipe {
    /// The user's own Dockerfile.
    Dockerfile {
        /// Its path in the app's folder.
        path: String,
        /// Stage to build; the last if `None`.
        target: Option<String>,
        /// Build arguments from `weir.toml`.
        arguments: BTreeMap<String, String>,
    },
    /// An image that exists.
    Image {
        /// Its reference.
        reference: String,
    },
    /// A Python app.
    Python(PythonPlan),
    /// A Node.js app.
    Node(NodePlan),
    /// Files to be served.
    Static {
        /// Their folder in the app's folder; empty for all of it.
        publish: String,
    },
}

/// What an image is built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// A stack that Weir makes.
    Stack(Stack),
    /// Any image.
    Image(String),
}

/// How a Python app is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonPlan {
    /// What it is built on.
    pub base: Base,
    /// How its dependencies are installed.
    pub dependencies: PythonDependencies,
    /// What the start command needs and the app does not name (`gunicorn`).
    pub additional: Vec<String>,
    /// Shell command after the source was copied.
    pub command: Option<String>,
    /// Folder of the modules beside the app's own (`src`).
    pub module_folder: Option<String>,
}

/// How Python dependencies are installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PythonDependencies {
    /// There are none.
    None,
    /// `pip install -r`.
    Requirements {
        /// The first is installed; it refers to the others.
        files: Vec<String>,
        /// They name paths in the source, so that all of it is needed.
        whole_source: bool,
    },
    /// Requirements that stand in `pyproject.toml` or `pdm.lock`.
    Project {
        /// The requirements, one a line.
        requirements: Vec<String>,
        /// The project itself is installed too, because it has commands of its own.
        itself: bool,
    },
    /// A tool with its lock file: `uv`, `poetry` or `pipenv`.
    Tool {
        /// Which.
        tool: PythonTool,
        /// Files that it reads.
        files: Vec<String>,
        /// They name paths in the source, so that all of it is needed.
        whole_source: bool,
    },
}

/// A Python packaging tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PythonTool {
    /// `uv.lock`.
    Uv,
    /// `poetry.lock`, or a `pyproject.toml` in Poetry's own format.
    Poetry,
    /// `Pipfile.lock`.
    Pipenv,
    /// `Pipfile` without a lock file.
    PipenvUnlocked,
}

/// How a Node.js app is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// What it is built on.
    pub base: Base,
    /// Who installs its dependencies.
    pub manager: NodeManager,
    /// Files of the app that the installation reads.
    pub files: Vec<String>,
    /// The installation needs all of the source: workspaces, local packages, install scripts.
    pub whole_source: bool,
    /// There are no dependencies at all.
    pub no_dependencies: bool,
    /// Some dependencies are for development only.
    pub has_development: bool,
    /// Shell command after the source was copied.
    pub command: Option<String>,
    /// The build writes into `node_modules`, so that they must be kept as they are after it.
    pub keep_modules: bool,
    /// Folder of the built site, which is served as files; the app runs as Node.js if `None`.
    pub publish: Option<String>,
}

/// Who installs Node.js dependencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeManager {
    /// npm, with a lock file or without.
    Npm {
        /// There is a lock file.
        locked: bool,
    },
    /// Yarn 1.
    YarnClassic,
    /// Yarn from 2 on.
    YarnModern {
        /// Its version, as npm understands it.
        version: String,
    },
    /// pnpm.
    Pnpm {
        /// Its version, as npm understands it.
        version: String,
        /// There is a lock file.
        locked: bool,
    },
}
