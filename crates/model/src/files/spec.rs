//! What `weir.toml` means: checks that go beyond keys and types, and the way to [`AppSpec`].

use std::collections::BTreeMap;

use super::cache::CacheFile;
use super::reader::Findings;
use super::types::{
    AppFile, BuildFile, BuildKind, CheckFile, ProcessFile, ProjectFile, ReleaseFile, RouteFile, ScalingFile,
};
use super::values::{Duration, shorten};
use crate::spec::{AppSpec, Check, ProcessSpec, ReleaseCommand, RouteSpec, VolumeSpec};
use crate::{AppName, ProcessName, VariableName, VolumeName};

/// Longest command, in bytes.
const COMMAND_BYTES: usize = 16 << 10;
/// Most processes, volumes, routes or apps.
const MANY: usize = 32;
/// Most variables of an app.
const VARIABLES: usize = 500;
/// Longest value of a variable, in bytes.
const VALUE_BYTES: usize = 64 << 10;
/// Longest run of a release command if nothing is said, in seconds.
const RELEASE_TIMEOUT_S: u32 = 600;
/// How long upgraded connections may go on after a switch if nothing is said, in seconds.
const DRAIN_S: u32 = 30;

/// What the sources say beside `weir.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detected {
    /// Commands by process, from the `Procfile` or from the language; `release` may be among
    /// them. `None` is what the image starts by itself.
    pub commands: BTreeMap<ProcessName, Option<String>>,
    /// The port that the app listens on whatever `PORT` says, if that is known.
    pub port: Option<u16>,
}

impl ProjectFile {
    /// The apps that it describes. Without `[app.NAME]` tables it is one, named like the
    /// project unless `name` says otherwise.
    pub fn apps(&self, project: &AppName) -> BTreeMap<AppName, AppFile> {
        if self.app.is_empty() {
            let name = self
                .name
                .as_deref()
                .and_then(|name| AppName::new(name).ok())
                .unwrap_or_else(|| project.clone());
            return BTreeMap::from([(name, self.single())]);
        }
        let checked = self
            .app
            .iter()
            .filter_map(|(name, app)| AppName::new(name).ok().map(|name| (name, app.clone())));
        checked.map(|(name, app)| (name, self.with_shared(app))).collect()
    }

    fn single(&self) -> AppFile {
        AppFile {
            folder: None,
            build: self.build.clone(),
            process: self.process.clone(),
            release: self.release.clone(),
            volume: self.volume.clone(),
            route: self.route.clone(),
            tcp: self.tcp.clone(),
            class: self.class.clone(),
            limits: self.limits.clone(),
            variables: self.variables.clone(),
            deploy: self.deploy.clone(),
            access_log: self.access_log,
            cache: self.cache.clone(),
        }
    }

    fn with_shared(&self, mut app: AppFile) -> AppFile {
        for (name, value) in &self.variables {
            app.variables.entry(name.clone()).or_insert_with(|| value.clone());
        }
        app.deploy = app.deploy.or_else(|| self.deploy.clone());
        app.access_log = app.access_log.or(self.access_log);
        app.cache = app.cache.or_else(|| self.cache.clone());
        app
    }
}

impl AppFile {
    /// The complete specification: this file over what was detected over the defaults. Fails
    /// with lines for people where they do not fit together.
    pub fn spec(&self, name: AppName, detected: &Detected) -> Result<AppSpec, Vec<String>> {
        let release_name = "release";
        let mut problems = Vec::new();
        let mut processes = BTreeMap::new();
        let named = self.process.keys().filter_map(|name| ProcessName::new(name).ok());
        for process in named
            .chain(detected.commands.keys().cloned())
            .filter(|process| process.as_str() != release_name)
        {
            let file = self.process.get(process.as_str()).cloned().unwrap_or_default();
            let command = file
                .command
                .clone()
                .or_else(|| detected.commands.get(&process).cloned().flatten());
            processes.insert(process, file.spec(command, detected.port));
        }
        let routes: Vec<RouteSpec> = self.route.iter().filter_map(RouteFile::spec).collect();
        for route in routes.iter().filter(|route| !processes.contains_key(&route.process)) {
            let known: Vec<&str> = processes.keys().map(ProcessName::as_str).collect();
            problems.push(format!(
                "app `{name}`: the route {} goes to the process `{}`, which does not exist; there is: {}",
                route.path_prefix,
                route.process,
                known.join(", ")
            ));
        }
        problems.extend(super::classes::misfits(&name, &routes, &self.class, &processes));
        let tcp = super::tcp::specs(&name, self, &processes, &mut problems);
        super::tcp::settle(self, &tcp, &routes, &mut processes);
        let volumes = self.volume.iter().filter_map(|(name, volume)| {
            Some((
                VolumeName::new(name).ok()?,
                VolumeSpec {
                    path: volume.path.clone(),
                    writers: volume.writers,
                },
            ))
        });
        let spec = AppSpec {
            release: self.release_command(detected, &mut problems),
            volumes: volumes.collect(),
            routes,
            variables: self.variables.clone(),
            drain_s: self
                .deploy
                .as_ref()
                .and_then(|deploy| deploy.drain)
                .map_or(DRAIN_S, |drain| drain.seconds),
            classes: super::classes::specs(&self.class),
            tcp,
            access_log: self.access_log.map(|file| file.logging).unwrap_or_default(),
            cache: self.cache.as_ref().map(CacheFile::spec).unwrap_or_default(),
            protection: self
                .limits
                .as_ref()
                .map(super::protection::of_limits)
                .unwrap_or_default(),
            name,
            processes,
        };
        problems.extend(super::scaling::misfits(&spec));
        if spec.is_exclusive() {
            let several = spec.processes.iter().filter(|(_, process)| process.instances > 1);
            problems.extend(several.map(|(process, _)| {
                format!("app `{}`: `{process}` cannot have more than one instance, because a volume admits one writer; set instances = 1, or writers = \"many\" if the app coordinates its writers", spec.name)
            }));
        }
        if problems.is_empty() { Ok(spec) } else { Err(problems) }
    }

    fn release_command(&self, detected: &Detected, problems: &mut Vec<String>) -> Option<ReleaseCommand> {
        let process = self.process.get("release").map(|process| ReleaseFile {
            command: process.command.clone(),
            timeout: process.timeout,
        });
        let file = self.release.clone().or(process);
        let found = detected
            .commands
            .iter()
            .find(|(name, _)| name.as_str() == "release")
            .and_then(|(_, command)| command.clone());
        let command = file.as_ref().and_then(|file| file.command.clone()).or(found);
        let timeout_s = file
            .as_ref()
            .and_then(|file| file.timeout)
            .map_or(RELEASE_TIMEOUT_S, |timeout| timeout.seconds);
        if command.is_none() && file.is_some() {
            problems.push("[release] has no command, and there is none in the Procfile".to_owned());
        }
        command.map(|command| ReleaseCommand { command, timeout_s })
    }
}

impl ProcessFile {
    fn spec(&self, command: Option<String>, detected_port: Option<u16>) -> ProcessSpec {
        let default = ProcessSpec::default();
        let seconds = |duration: Option<Duration>, default: u32| duration.map_or(default, |duration| duration.seconds);
        let check = self.check.clone().unwrap_or_default();
        ProcessSpec {
            command,
            instances: self.instances.unwrap_or(default.instances),
            memory_bytes: self.memory.map_or(default.memory_bytes, |memory| memory.bytes),
            cpu_milli: self.cpu.map_or(default.cpu_milli, |cpu| cpu.milli),
            max_processes: self.max_processes.unwrap_or(default.max_processes),
            max_open_files: self.max_open_files.unwrap_or(default.max_open_files),
            port: self.port.or(detected_port).unwrap_or(default.port),
            concurrency: self.concurrency.unwrap_or(default.concurrency),
            request_timeout_s: seconds(self.request_timeout, default.request_timeout_s),
            check: Check {
                path: check.path,
                tcp: false,
                ready_timeout_s: seconds(check.ready_timeout, default.check.ready_timeout_s),
                interval_s: seconds(check.interval, default.check.interval_s),
                timeout_s: seconds(check.timeout, default.check.timeout_s),
                failures: check.failures.unwrap_or(default.check.failures),
            },
            grace_s: seconds(self.grace, default.grace_s),
            scaling: self.scaling.as_ref().map(ScalingFile::spec).unwrap_or_default(),
        }
    }
}

/// The app that answers under the project's own host: the one named like the project, else
/// the only one with a `web` process, else the one named `web`, else the first by name that
/// has a `web` process.
pub fn main_app<'a>(apps: impl Iterator<Item = &'a AppSpec>, project: &str) -> Option<AppName> {
    let mut routed: Vec<&AppSpec> = apps
        .filter(|app| app.name.as_str() == project || app.processes.keys().any(ProcessName::is_web))
        .collect();
    routed.sort_by(|a, b| a.name.cmp(&b.name));
    let named = |name: &str| routed.iter().find(|app| app.name.as_str() == name);
    named(project)
        .or_else(|| named("web"))
        .or_else(|| routed.first())
        .map(|app| app.name.clone())
}

/// Checks that go beyond keys and types.
pub(super) fn check(file: &ProjectFile, findings: &mut Findings) {
    if file.app.is_empty() {
        if let Some(Err(error)) = file.name.as_deref().map(AppName::new) {
            findings.at("name", error.to_string());
        }
        check_app(&file.single(), "", findings);
        return;
    }
    let misplaced = [
        ("name", file.name.is_some()),
        ("build", file.build.is_some()),
        ("process", !file.process.is_empty()),
        ("release", file.release.is_some()),
        ("volume", !file.volume.is_empty()),
        ("route", !file.route.is_empty()),
        ("tcp", !file.tcp.is_empty()),
        ("class", !file.class.is_empty()),
        ("limits", file.limits.is_some()),
    ];
    for (key, _) in misplaced.iter().filter(|(_, there)| *there) {
        findings.at(
            key,
            format!("`{key}` stands at the top level, but there are [app.NAME] tables; put it into one of them"),
        );
    }
    check_variables(&file.variables, "variables", findings);
    check_count("app", file.app.len(), findings);
    for (name, app) in &file.app {
        let at = format!("app.{name}");
        if let Err(error) = AppName::new(name) {
            findings.at(&at, error.to_string());
        }
        check_app(app, &format!("{at}."), findings);
    }
}

fn check_app(app: &AppFile, at: &str, findings: &mut Findings) {
    if let Some(folder) = &app.folder {
        check_relative(folder, &format!("{at}folder"), findings);
    }
    if let Some(build) = &app.build {
        check_build(build, &format!("{at}build"), findings);
    }
    check_count(&format!("{at}process"), app.process.len(), findings);
    for (name, process) in &app.process {
        check_process(name, process, &format!("{at}process.{name}"), findings);
    }
    if let Some(release) = &app.release {
        let at = format!("{at}release");
        check_command(release.command.as_deref(), &at, findings);
        check_span(release.timeout, 1, 6 * 3600, &format!("{at}.timeout"), findings);
        if app.process.contains_key("release") {
            findings.at(&at, "[release] and [process.release] are the same; keep one of them");
        }
    }
    check_count(&format!("{at}volume"), app.volume.len(), findings);
    let mut paths: Vec<&str> = Vec::new();
    for (name, volume) in &app.volume {
        let at = format!("{at}volume.{name}");
        if let Err(error) = VolumeName::new(name) {
            findings.at(&at, error.to_string());
        }
        check_volume_path(&volume.path, &mut paths, &at, findings);
        paths.push(&volume.path);
    }
    check_count(&format!("{at}route"), app.route.len(), findings);
    super::classes::check(app, at, findings);
    super::tcp::check(app, at, findings);
    super::protection::check(app, at, findings);
    check_variables(&app.variables, &format!("{at}variables"), findings);
    check_span(
        app.deploy.as_ref().and_then(|deploy| deploy.drain),
        0,
        3600,
        &format!("{at}deploy.drain"),
        findings,
    );
}

fn check_build(build: &BuildFile, at: &str, findings: &mut Findings) {
    let only_dockerfile = matches!(build.kind, BuildKind::Auto | BuildKind::Dockerfile);
    for (key, there) in [
        ("dockerfile", build.dockerfile.is_some()),
        ("target", build.target.is_some()),
        ("arguments", !build.arguments.is_empty()),
    ] {
        if there && !only_dockerfile {
            findings.at(
                &format!("{at}.{key}"),
                format!("`{key}` is for Dockerfiles, but kind is another"),
            );
        }
    }
    for (key, path) in [("dockerfile", &build.dockerfile), ("publish", &build.publish)] {
        if let Some(path) = path {
            check_relative(path, &format!("{at}.{key}"), findings);
        }
    }
    if build.kind == BuildKind::Image && build.runtime.is_none() {
        findings.at(
            &format!("{at}.kind"),
            "kind \"image\" needs `runtime`, the image to run",
        );
    }
    if let Some(runtime) = &build.runtime
        && !is_reference(runtime)
    {
        findings.at(
            &format!("{at}.runtime"),
            format!(
                "`{}` is neither a language like \"python:3.13\" nor an image",
                shorten(runtime)
            ),
        );
    }
    if build
        .command
        .as_ref()
        .is_some_and(|command| command.len() > COMMAND_BYTES || command.contains('\0'))
    {
        findings.at(
            &format!("{at}.command"),
            "the build command is too long, or has a NUL in it",
        );
    }
    check_count(&format!("{at}.packages"), build.packages.len() / 8, findings);
    for package in &build.packages {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.:=~".contains(&byte);
        if package.is_empty() || package.len() > 128 || package.starts_with('-') || !package.bytes().all(fits) {
            findings.at(
                &format!("{at}.packages"),
                format!("`{}` cannot be the name of a Debian package", shorten(package)),
            );
        }
    }
    for name in build.arguments.keys() {
        if name.is_empty() || name.len() > 128 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            findings.at(
                &format!("{at}.arguments"),
                format!("`{}` cannot be the name of a build argument", shorten(name)),
            );
        }
    }
}

/// Whether a text can stand after `FROM`: what Docker allows in references, nothing else.
fn is_reference(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(fits) && text.as_bytes()[0].is_ascii_alphanumeric()
}

fn check_process(name: &str, process: &ProcessFile, at: &str, findings: &mut Findings) {
    if let Err(error) = ProcessName::new(name) {
        findings.at(at, error.to_string());
    }
    check_command(process.command.as_deref(), at, findings);
    if name == "release" {
        let bare = ProcessFile {
            command: None,
            timeout: None,
            ..process.clone()
        };
        if bare != ProcessFile::default() {
            findings.at(at, "[process.release] knows only `command` and `timeout`");
        }
        check_span(process.timeout, 1, 6 * 3600, &format!("{at}.timeout"), findings);
    } else if process.timeout.is_some() {
        findings.at(
            &format!("{at}.timeout"),
            "`timeout` is for the process `release`; did you mean `request_timeout` or `grace`?",
        );
    }
    if process
        .memory
        .is_some_and(|memory| !(16 << 20..=1 << 40).contains(&memory.bytes))
    {
        findings.at(&format!("{at}.memory"), "`memory` must be from 16MiB to 1024GiB");
    }
    check_span(
        process.request_timeout,
        1,
        3600,
        &format!("{at}.request_timeout"),
        findings,
    );
    check_span(process.grace, 0, 600, &format!("{at}.grace"), findings);
    super::scaling::check(process, at, findings);
    if let Some(check) = &process.check {
        check_check(check, &format!("{at}.check"), findings);
    }
}

fn check_check(check: &CheckFile, at: &str, findings: &mut Findings) {
    if check.path.as_ref().is_some_and(|path| {
        !path.starts_with('/') || path.len() > 1024 || path.chars().any(|c| c.is_whitespace() || c.is_control())
    }) {
        findings.at(
            &format!("{at}.path"),
            "the path of a check begins with / and has no spaces",
        );
    }
    check_span(check.ready_timeout, 1, 3600, &format!("{at}.ready_timeout"), findings);
    check_span(check.interval, 1, 3600, &format!("{at}.interval"), findings);
    check_span(check.timeout, 1, 60, &format!("{at}.timeout"), findings);
}

fn check_command(command: Option<&str>, at: &str, findings: &mut Findings) {
    let Some(command) = command else { return };
    if command.trim().is_empty() || command.len() > COMMAND_BYTES || command.contains('\0') {
        findings.at(
            &format!("{at}.command"),
            format!("a command must have 1 to {COMMAND_BYTES} bytes and no NUL"),
        );
    }
}

pub(super) fn check_span(span: Option<Duration>, least: u32, most: u32, at: &str, findings: &mut Findings) {
    if span.is_some_and(|span| !(least..=most).contains(&span.seconds)) {
        let key = at.rsplit('.').next().unwrap_or(at);
        findings.at(at, format!("`{key}` must be from {least}s to {most}s"));
    }
}

fn check_count(at: &str, count: usize, findings: &mut Findings) {
    if count > MANY {
        findings.at(at, format!("`{at}` has too many entries; at most {MANY} are allowed"));
    }
}

fn check_relative(path: &str, at: &str, findings: &mut Findings) {
    let hostile = path.starts_with('/')
        || path.split('/').any(|part| part == "..")
        || path.contains(['\\', '\0'])
        || path.chars().any(char::is_control);
    if path.is_empty() || path.len() > 1024 || hostile {
        findings.at(
            at,
            format!(
                "`{at}` must be a path inside the repository, without `..`: `{}`",
                shorten(path)
            ),
        );
    }
}

fn check_volume_path(path: &str, earlier: &mut [&str], at: &str, findings: &mut Findings) {
    let plain = path.starts_with('/')
        && path.len() <= 512
        && !path.contains("//")
        && !path.split('/').any(|part| part == ".." || part == ".");
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if !plain || path.ends_with('/') || !path.bytes().all(fits) {
        findings.at(
            &format!("{at}.path"),
            format!(
                "the path of a volume is absolute and plain, like /data: `{}`",
                shorten(path)
            ),
        );
        return;
    }
    let top = path.split('/').nth(1).unwrap_or_default();
    if [
        "proc", "sys", "dev", "etc", "bin", "sbin", "lib", "lib64", "usr", "boot",
    ]
    .contains(&top)
        || path == "/app"
        || path == "/run"
    {
        findings.at(
            &format!("{at}.path"),
            format!("a volume cannot lie at {path}, which belongs to the system or the app; take a path like /data"),
        );
    }
    let inside = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
    if earlier.iter().any(|other| inside(path, other) || inside(other, path)) {
        findings.at(
            &format!("{at}.path"),
            format!("{path} lies inside of another volume, or another one inside of it"),
        );
    }
}

fn check_variables(variables: &BTreeMap<String, String>, at: &str, findings: &mut Findings) {
    if variables.len() > VARIABLES {
        findings.at(at, format!("there are more than {VARIABLES} variables"));
    }
    for (name, value) in variables {
        if let Err(error) = VariableName::new(name) {
            findings.at(&format!("{at}.{name}"), error.to_string());
        }
        if value.len() > VALUE_BYTES || value.contains('\0') {
            findings.at(
                &format!("{at}.{name}"),
                format!("the value of `{}` is too long, or has a NUL in it", shorten(name)),
            );
        }
    }
}
