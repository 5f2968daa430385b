//! What is in a source and how it is built and run: `weir.toml` over `Procfile` over what the
//! files look like. Reads, decides and says what it found; builds nothing.

mod node;
mod node_manager;
mod node_version;
mod pdm;
mod poetry;
mod python;
mod python_start;
mod python_version;
mod requirements;

use std::collections::BTreeMap;

use weir_model::files::{
    AppFile, BuildFile, BuildKind, Detected, PROCFILE_BYTES, Procfile, ProjectFile, WEIR_TOML, WEIR_TOML_BYTES,
    main_app,
};
use weir_model::{AppName, ProcessName};

use crate::plan::{AppPlan, Base, ImagePlan, Recipe};
use crate::source::Source;
use crate::stack::Stack;

/// Why it cannot be told how to build a source; all reasons together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct DetectError {
    /// What is wrong and what to do, at least one.
    pub problems: Vec<String>,
}

impl From<String> for DetectError {
    fn from(problem: String) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}

/// Looks at a source. The main app comes first; it is named `project_app` unless `weir.toml`
/// says otherwise. Several problems are reported together.
pub fn detect(source: &Source, project_app: &AppName) -> Result<Vec<AppPlan>, DetectError> {
    let file = match source.read(WEIR_TOML, WEIR_TOML_BYTES + 1) {
        Some(bytes) => {
            let text = std::str::from_utf8(&bytes).map_err(|_| format!("{WEIR_TOML} is not UTF-8 text"))?;
            ProjectFile::parse(text).map_err(|problems| problems.to_string())?
        }
        None => ProjectFile::default(),
    };
    let (mut plans, mut problems) = (Vec::new(), Vec::new());
    for (name, app) in file.apps(project_app) {
        match detect_app(source, name, &app) {
            Ok(plan) => plans.push(plan),
            Err(error) => problems.extend(error.problems),
        }
    }
    if !problems.is_empty() {
        return Err(DetectError { problems });
    }
    let main = main_app(plans.iter().map(|plan| &plan.spec), project_app.as_str());
    plans.sort_by_key(|plan| Some(&plan.spec.name) != main.as_ref());
    Ok(plans)
}

/// One folder of a source.
#[derive(Clone, Copy)]
pub(crate) struct Folder<'a> {
    source: &'a Source,
    path: &'a str,
}

impl<'a> Folder<'a> {
    fn at(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.path)
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.source.has_file(&self.at(name))
    }

    pub(crate) fn has_folder(&self, name: &str) -> bool {
        self.source.has_folder(&self.at(name))
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.source.text(&self.at(name))
    }

    /// The names in a folder below this one.
    pub(crate) fn list(&self, name: &str) -> Vec<&'a str> {
        if name.is_empty() {
            self.source.list(self.path)
        } else {
            self.source.list(&self.at(name))
        }
    }
}

/// What the detection of one kind gives.
pub(crate) struct Found {
    /// How the image is made.
    pub recipe: Recipe,
    /// The command of `web`, with where it comes from; `None`: not found.
    pub start: Option<(String, String)>,
    /// What was found and where.
    pub findings: Vec<String>,
    /// Debian packages to build.
    pub build_packages: Vec<String>,
    /// Debian packages to run.
    pub run_packages: Vec<String>,
}

impl Found {
    fn plain(recipe: Recipe, finding: String) -> Self {
        Self {
            recipe,
            start: None,
            findings: vec![finding],
            build_packages: Vec::new(),
            run_packages: Vec::new(),
        }
    }
}

fn detect_app(source: &Source, name: AppName, app: &AppFile) -> Result<AppPlan, DetectError> {
    let written = app.folder.clone().unwrap_or_default();
    let path: Vec<&str> = written
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let path = path.join("/");
    if !source.has_folder(&path) {
        return Err(format!(
            "app `{name}`: there is no folder `{path}` in the source; there is: {}",
            shown_list(&source.list(""))
        )
        .into());
    }
    let folder = Folder { source, path: &path };
    let build = app.build.clone().unwrap_or_default();
    let procfile = read_procfile(&folder)?;
    let kind = kind_of(&folder, &build);
    let Some(kind) = kind else {
        return Err(nothing_found(&folder, &name).into());
    };
    let has_web = procfile
        .as_ref()
        .is_some_and(|procfile| procfile.processes.contains_key(&ProcessName::web()))
        || app.process.get("web").is_some_and(|web| web.command.is_some());
    let mut found = match kind {
        BuildKind::Dockerfile => dockerfile(&folder, &build)?,
        BuildKind::Image => image(&build),
        BuildKind::Static => static_site(&folder, &build)?,
        BuildKind::Node => node::detect(&folder, &build)?,
        BuildKind::Python | BuildKind::Auto => python::detect(&folder, &build, has_web)?,
    };
    let commands = commands(app, procfile.as_ref(), &mut found, &name)?;
    let detected = Detected { commands, port: None };
    let spec = app.spec(name, &detected).map_err(|problems| DetectError { problems })?;
    if spec.processes.is_empty() {
        return Err(format!(
            "app `{}` has no process besides `release`; add a line `web: …` to {}",
            spec.name,
            folder.at("Procfile")
        )
        .into());
    }
    let port_is_set = app.process.values().any(|process| process.port.is_some());
    let mut run_packages = build.packages.clone();
    run_packages.append(&mut found.run_packages);
    let mut build_packages = build.packages.clone();
    build_packages.append(&mut found.build_packages);
    for packages in [&mut run_packages, &mut build_packages] {
        packages.sort();
        packages.dedup();
    }
    let image = ImagePlan {
        recipe: found.recipe,
        build_packages,
        run_packages,
        trust_ca: build.trust_ca,
    };
    if !image.run_packages.is_empty() {
        found
            .findings
            .push(format!("Debian packages: {}", image.run_packages.join(", ")));
    }
    Ok(AppPlan {
        spec,
        folder: path,
        image,
        findings: found.findings,
        port_is_set,
    })
}

fn read_procfile(folder: &Folder<'_>) -> Result<Option<Procfile>, DetectError> {
    let path = folder.at("Procfile");
    let Some(bytes) = folder.source.read(&path, PROCFILE_BYTES + 1) else {
        return Ok(None);
    };
    Procfile::parse(&bytes, &path)
        .map(Some)
        .map_err(|problems| problems.to_string().into())
}

fn kind_of(folder: &Folder<'_>, build: &BuildFile) -> Option<BuildKind> {
    if build.kind != BuildKind::Auto {
        return Some(build.kind);
    }
    if build.dockerfile.is_some() {
        return Some(BuildKind::Dockerfile);
    }
    match build.runtime.as_deref().and_then(|runtime| language_version(runtime)) {
        Some(("python", _)) => return Some(BuildKind::Python),
        Some(("node", _)) => return Some(BuildKind::Node),
        _ => {}
    }
    if folder.has("Dockerfile") {
        return Some(BuildKind::Dockerfile);
    }
    if python::is_python(folder) {
        return Some(BuildKind::Python);
    }
    if folder.has("package.json") {
        return Some(BuildKind::Node);
    }
    if build.publish.is_some() || site_folder(folder).is_some() {
        return Some(BuildKind::Static);
    }
    if python::has_script(folder) {
        return Some(BuildKind::Python);
    }
    node::has_script(folder).then_some(BuildKind::Node)
}

/// `python:3.13` or `node:22`: a language of ours with its version; other texts are images.
pub(crate) fn language_version(runtime: &str) -> Option<(&'static str, &str)> {
    let (language, version) = runtime.split_once(':').unwrap_or((runtime, ""));
    let language = ["python", "node"].into_iter().find(|known| *known == language)?;
    version
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
        .then_some((language, version))
}

fn commands(
    app: &AppFile,
    procfile: Option<&Procfile>,
    found: &mut Found,
    name: &AppName,
) -> Result<BTreeMap<ProcessName, Option<String>>, DetectError> {
    let mut commands = BTreeMap::new();
    for (process, line) in procfile.iter().flat_map(|procfile| &procfile.processes) {
        let overridden = app
            .process
            .get(process.as_str())
            .is_some_and(|file| file.command.is_some())
            || (process.as_str() == "release" && app.release.as_ref().is_some_and(|release| release.command.is_some()));
        if !overridden {
            found
                .findings
                .push(format!("{process}: {} (from Procfile)", one_line(&line.command)));
        }
        commands.insert(process.clone(), Some(line.command.clone()));
    }
    for (process, command) in app
        .process
        .iter()
        .filter_map(|(process, file)| Some((process, file.command.as_ref()?)))
    {
        found
            .findings
            .push(format!("{process}: {} (from weir.toml)", one_line(command)));
    }
    if procfile.is_some() || app.process.get("web").is_some_and(|web| web.command.is_some()) {
        return Ok(commands);
    }
    let runs_itself = matches!(
        &found.recipe,
        Recipe::Dockerfile { .. } | Recipe::Image { .. } | Recipe::Static { .. }
    ) || matches!(&found.recipe, Recipe::Node(node) if node.publish.is_some());
    // A worker without a command of its own takes the image's, so that there is no `web` then.
    let taken = app
        .process
        .iter()
        .any(|(process, file)| process != "web" && process != "release" && file.command.is_none());
    match &found.start {
        Some((command, origin)) => {
            found.findings.push(format!("web: {} ({origin})", one_line(command)));
            commands.insert(ProcessName::web(), Some(command.clone()));
        }
        None if runs_itself && (!taken || app.process.contains_key("web")) => {
            commands.insert(ProcessName::web(), None);
        }
        None if runs_itself
            || app
                .process
                .iter()
                .any(|(process, file)| process != "release" && file.command.is_some()) => {}
        None => {
            return Err(format!(
                "app `{name}`: {} was found, but not how it starts; add a file `Procfile` with a line like `{}`",
                found.findings.first().map_or("its language", String::as_str),
                if matches!(found.recipe, Recipe::Node(_)) {
                    "web: node server.js"
                } else {
                    "web: gunicorn app:app"
                }
            )
            .into());
        }
    }
    Ok(commands)
}

fn dockerfile(folder: &Folder<'_>, build: &BuildFile) -> Result<Found, DetectError> {
    let path = build.dockerfile.clone().unwrap_or_else(|| "Dockerfile".to_owned());
    if !folder.has(&path) {
        return Err(format!("there is no Dockerfile at `{}`", folder.at(&path)).into());
    }
    let finding = format!("Dockerfile (from {})", folder.at(&path));
    Ok(Found::plain(
        Recipe::Dockerfile {
            path,
            target: build.target.clone(),
            arguments: build.arguments.clone(),
        },
        finding,
    ))
}

fn image(build: &BuildFile) -> Found {
    let reference = build.runtime.clone().unwrap_or_default();
    let finding = format!("Image {reference} (from weir.toml)");
    Found::plain(Recipe::Image { reference }, finding)
}

/// The folder of a site without any build.
fn site_folder(folder: &Folder<'_>) -> Option<&'static str> {
    ["", "public", "dist", "_site", "site", "www"]
        .into_iter()
        .find(|publish| folder.has(&joined(publish, "index.html")))
}

fn static_site(folder: &Folder<'_>, build: &BuildFile) -> Result<Found, DetectError> {
    let given = build
        .publish
        .as_deref()
        .map(|publish| publish.trim_start_matches("./").trim_end_matches('/').to_owned());
    let publish = match given {
        Some(publish) if publish == "." => String::new(),
        Some(publish) if folder.has_folder(&publish) => publish,
        Some(publish) => return Err(format!("there is no folder `{}` to publish", folder.at(&publish)).into()),
        None => site_folder(folder).unwrap_or_default().to_owned(),
    };
    check_plain(&publish)?;
    let finding = format!(
        "Static site (from {})",
        folder.at(&joined(
            &publish,
            if folder.has(&joined(&publish, "index.html")) {
                "index.html"
            } else {
                ""
            }
        ))
    );
    Ok(Found::plain(Recipe::Static { publish }, finding))
}

/// What is built on: the image that the person named, or else a stack.
pub(crate) fn base_of(
    build: &BuildFile,
    stack: impl FnOnce() -> Result<(Base, String), DetectError>,
) -> Result<(Base, String), DetectError> {
    match build.runtime.as_deref() {
        Some(runtime) if language_version(runtime).is_none() => {
            let base = Stack::from_tag(runtime).map_or_else(|| Base::Image(runtime.to_owned()), Base::Stack);
            Ok((base, format!("Image {runtime} (from weir.toml)")))
        }
        _ => stack(),
    }
}

/// Folders that go into a Dockerfile must have plain names.
pub(crate) fn check_plain(path: &str) -> Result<(), DetectError> {
    let plain = |c: char| c.is_alphanumeric() || "._-/+@ ".contains(c);
    if path.chars().all(plain) && !path.split('/').any(|part| part == "..") {
        Ok(())
    } else {
        Err(format!(
            "`{}` cannot be published: only letters, digits, spaces and . _ - + @ are allowed in its name",
            one_line(path)
        )
        .into())
    }
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

fn nothing_found(folder: &Folder<'_>, name: &AppName) -> String {
    let place = if folder.path.is_empty() {
        "the root of the source".to_owned()
    } else {
        format!("the folder `{}`", folder.path)
    };
    let procfile = if folder.has("Procfile") {
        "\nThere is a Procfile, but nothing that says which language it needs."
    } else {
        ""
    };
    format!(
        "app `{name}`: nothing in {place} says how to build it.{procfile}\nlooked for: Dockerfile; requirements.txt, pyproject.toml, Pipfile, manage.py, app.py, main.py (Python); package.json, server.js, index.js (Node.js); index.html, public/index.html (static site); weir.toml\nthere is: {}\ntry: add one of these files, or a weir.toml with [app.NAME] tables if the app lies in another folder",
        shown_list(&folder.list(""))
    )
}

fn shown_list(names: &[&str]) -> String {
    match names {
        [] => "nothing (the source is empty; was it committed?)".to_owned(),
        names if names.len() > 12 => format!("{} and {} more", names[..12].join(", "), names.len() - 12),
        names => names.join(", "),
    }
}

/// A command of any length as one short line.
pub(crate) fn one_line(command: &str) -> String {
    let flat: String = command
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect();
    if command.chars().count() > 200 {
        format!("{flat}…")
    } else {
        flat
    }
}
