//! Node.js: who installs the dependencies, what builds and what starts the app.

use serde_json::Value;
use weir_model::files::BuildFile;

use super::{DetectError, Folder, Found, base_of, node_manager, node_version};
use crate::plan::{NodeManager, NodePlan, Recipe};

/// Scripts that start an app, in the order in which they are looked for.
const SCRIPTS: [&str; 8] = [
    "server.js",
    "index.js",
    "app.js",
    "main.js",
    "server.mjs",
    "index.mjs",
    "src/index.js",
    "src/server.js",
];
/// Site builders and the folder that they fill.
const SITES: [(&str, &str); 7] = [
    ("vite", "dist"),
    ("react-scripts", "build"),
    ("@vue/cli-service", "dist"),
    ("astro", "dist"),
    ("parcel", "dist"),
    ("@11ty/eleventy", "_site"),
    ("@angular/cli", "dist"),
];
/// Files that an installation reads.
const FILES: [&str; 9] = [
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".pnpmfile.cjs",
];
/// Scripts of npm that run with an installation.
const INSTALL_SCRIPTS: [&str; 4] = ["preinstall", "install", "postinstall", "prepare"];

/// Whether a folder holds a script that starts a Node.js app without any dependencies.
pub(crate) fn has_script(folder: &Folder<'_>) -> bool {
    SCRIPTS.into_iter().any(|name| folder.has(name))
}

/// `package.json`, as far as it matters here.
struct Package(Value);

impl Package {
    fn script(&self, name: &str) -> Option<&str> {
        self.0
            .get("scripts")?
            .get(name)?
            .as_str()
            .map(str::trim)
            .filter(|script| !script.is_empty())
    }

    fn depends_on(&self, name: &str) -> bool {
        ["dependencies", "devDependencies"]
            .into_iter()
            .any(|kind| self.0.get(kind).and_then(|all| all.get(name)).is_some())
    }

    /// The versions of all dependencies, as they are written.
    fn wanted(&self) -> impl Iterator<Item = &str> {
        let kinds = ["dependencies", "devDependencies", "optionalDependencies"];
        kinds
            .into_iter()
            .filter_map(|kind| self.0.get(kind)?.as_object())
            .flat_map(|all| all.values())
            .filter_map(Value::as_str)
    }
}

/// Detects a Node.js app.
pub(crate) fn detect(folder: &Folder<'_>, build: &BuildFile) -> Result<Found, DetectError> {
    let package = match folder.text("package.json") {
        Some(text) => Package(
            serde_json::from_str(&text)
                .map_err(|error| format!("{} cannot be read: {error}", folder.at("package.json")))?,
        ),
        None => Package(Value::Null),
    };
    let engines = package
        .0
        .get("engines")
        .and_then(|engines| engines.get("node"))
        .and_then(Value::as_str);
    let (base, finding) = base_of(build, || {
        node_version::choose(folder, build.runtime.as_deref(), engines)
    })?;
    let mut findings = vec![finding];
    let asked = package.0.get("packageManager").and_then(Value::as_str);
    let manager = node_manager::choose(folder, asked, package.wanted().next().is_some(), &mut findings)?;
    let command = match &build.command {
        Some(command) => Some(command.clone()).filter(|command| !command.trim().is_empty()),
        None => package.script("build").map(|script| {
            findings.push(format!(
                "build: {} (script `build` of package.json)",
                super::one_line(script)
            ));
            manager.run("build")
        }),
    };
    let start = start(folder, &package, &manager);
    let publish = publish(folder, build, &package, start.is_none() && command.is_some());
    if let Some(publish) = &publish {
        super::check_plain(publish)?;
        findings.push(format!("Static site from {publish}/, once built"));
    }
    let workspaces = package.0.get("workspaces").is_some() || folder.has("pnpm-workspace.yaml");
    let local = package
        .wanted()
        .any(|wanted| wanted.starts_with("file:") || wanted.starts_with("link:") || wanted.starts_with('.'));
    let scripted = INSTALL_SCRIPTS.into_iter().any(|name| package.script(name).is_some());
    let git = package
        .wanted()
        .any(|wanted| wanted.starts_with("git") || wanted.contains(".git") || wanted.starts_with("github:"));
    Ok(Found {
        start: if publish.is_some() { None } else { start },
        findings,
        build_packages: if git { vec!["git".to_owned()] } else { Vec::new() },
        run_packages: Vec::new(),
        recipe: Recipe::Node(NodePlan {
            base,
            files: FILES
                .into_iter()
                .filter(|name| folder.has(name))
                .map(str::to_owned)
                .collect(),
            whole_source: workspaces || local || scripted || folder.has_folder("patches") || folder.has_folder(".yarn"),
            no_dependencies: !folder.has("package.json")
                || (package.wanted().next().is_none() && !workspaces && !scripted),
            has_development: package
                .0
                .get("devDependencies")
                .and_then(Value::as_object)
                .is_some_and(|all| !all.is_empty())
                || workspaces,
            // Prisma generates its client into node_modules.
            keep_modules: workspaces || package.depends_on("prisma") || package.depends_on("@prisma/client"),
            manager,
            command,
            publish,
        }),
    })
}

/// The folder of a built site. Looked for only where nothing else starts the app: many servers
/// are built by the same tools.
fn publish(folder: &Folder<'_>, build: &BuildFile, package: &Package, may_be_site: bool) -> Option<String> {
    if let Some(publish) = build.publish.as_deref() {
        return Some(publish.trim_start_matches("./").trim_end_matches('/').to_owned());
    }
    let site = SITES.into_iter().find(|(name, _)| package.depends_on(name));
    site.filter(|_| may_be_site && !folder.has("Procfile"))
        .map(|(_, publish)| publish.to_owned())
}

fn start(folder: &Folder<'_>, package: &Package, manager: &NodeManager) -> Option<(String, String)> {
    if let Some(script) = package.script("start") {
        // Run as it is, not by npm: npm costs memory and half a second, and stands between the
        // app and its signals. Scripts that need npm's own ways get them.
        let needs_npm = ["prestart", "poststart"]
            .into_iter()
            .any(|name| package.script(name).is_some())
            || script.contains("npm_");
        let command = if needs_npm {
            manager.run("start")
        } else {
            script.to_owned()
        };
        return Some((command, "script `start` of package.json".to_owned()));
    }
    let main = package
        .0
        .get("main")
        .and_then(Value::as_str)
        .map(|main| main.trim_start_matches("./"));
    let plain = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte))
            && !name.starts_with('-')
    };
    if let Some(main) = main.filter(|main| plain(main) && folder.has(main)) {
        return Some((format!("node {main}"), "main of package.json".to_owned()));
    }
    SCRIPTS
        .into_iter()
        .find(|name| folder.has(name))
        .map(|name| (format!("node {name}"), format!("from {name}")))
}
