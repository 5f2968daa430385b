//! A `weir.toml` for a source, with the reason for each line: what detection finds, written down, so
//! that a person can change it. Nothing is built.
//!
//! What is proposed gives the same image and the same processes as no `weir.toml` would: it is tried
//! before it is told. A `weir.toml` that is there is not rewritten, only explained.

use std::fmt::Write as _;

use weir_model::AppName;
use weir_model::files::{ProjectFile, WEIR_TOML, WEIR_TOML_BYTES, describe_key};
use weir_model::spec::{AppSpec, ProcessSpec};

use crate::detect::{DetectError, detect};
use crate::plan::{AppPlan, Base, NodePlan, PythonPlan, Recipe};
use crate::source::Source;

/// Most folders that are looked into for apps.
const FOLDERS: usize = 50;
/// Most apps that are proposed.
const APPS: usize = 10;

/// A `weir.toml`, as far as one can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What was found; empty where it cannot be told how to build it.
    pub apps: Vec<AppPlan>,
    /// A whole `weir.toml`.
    pub toml: String,
    /// Why a line stands in it; lines are counted from 1.
    pub explanations: Vec<(usize, String)>,
    /// The `weir.toml` in the source.
    pub present: Option<String>,
    /// What is wrong or missing.
    pub problems: Vec<Missing>,
}

/// Something that is wrong or missing in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What.
    pub title: String,
    /// What to do.
    pub hint: Option<String>,
    /// The line of `weir.toml`, from 1.
    pub line: Option<usize>,
}

/// Looks at a source. The main app is named `project_app` unless `weir.toml` says otherwise.
pub fn propose(source: &Source, project_app: &AppName) -> Proposal {
    if let Some(bytes) = source.read(WEIR_TOML, WEIR_TOML_BYTES + 1) {
        return explain_present(source, project_app, &String::from_utf8_lossy(&bytes));
    }
    match detect(source, project_app) {
        Ok(plans) => written(source, project_app, plans),
        Err(error) => in_folders(source, project_app).unwrap_or_else(|| nothing(&error)),
    }
}

/// The word of `[build] kind`.
pub fn kind_word(plan: &AppPlan) -> &'static str {
    match plan.image.recipe {
        Recipe::Dockerfile { .. } => "dockerfile",
        Recipe::Image { .. } => "image",
        Recipe::Python(_) => "python",
        Recipe::Node(_) => "node",
        Recipe::Static { .. } => "static",
    }
}

fn explain_present(source: &Source, project_app: &AppName, toml: &str) -> Proposal {
    let (apps, problems) = match (ProjectFile::parse(toml), detect(source, project_app)) {
        (Err(wrong), _) => {
            let problems = wrong.problems.into_iter().map(|problem| Missing {
                title: problem.message,
                hint: None,
                line: problem.line,
            });
            (Vec::new(), problems.collect())
        }
        (Ok(_), Err(error)) => (Vec::new(), missing(&error)),
        (Ok(_), Ok(plans)) => (plans, Vec::new()),
    };
    Proposal {
        apps,
        explanations: explanations(toml, &[]),
        toml: toml.to_owned(),
        present: Some(toml.to_owned()),
        problems,
    }
}

fn nothing(error: &DetectError) -> Proposal {
    Proposal {
        apps: Vec::new(),
        toml: String::new(),
        explanations: Vec::new(),
        present: None,
        problems: missing(error),
    }
}

/// The problems of a detection; what it tells to do becomes the hint.
fn missing(error: &DetectError) -> Vec<Missing> {
    let problems = error.problems.iter().map(|problem| {
        let (title, rest) = problem.split_once('\n').unwrap_or((problem, ""));
        Missing {
            title: title.to_owned(),
            hint: Some(rest.trim().to_owned()).filter(|rest| !rest.is_empty()),
            line: None,
        }
    });
    problems.collect()
}

/// A repository with its apps in folders, and nothing at the top that can be built.
fn in_folders(source: &Source, project_app: &AppName) -> Option<Proposal> {
    let mut toml = String::new();
    let mut apps = 0;
    for folder in source.list("").into_iter().take(FOLDERS) {
        let name: String = folder
            .to_ascii_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let Ok(name) = AppName::new(name.trim_matches('-')) else {
            continue;
        };
        let table = format!("[app.{name}]\nfolder = {}\n", quoted(folder));
        let alone = source.clone().with_file(WEIR_TOML, table.as_bytes()).ok()?;
        if source.has_file(folder) || detect(&alone, project_app).is_err() {
            continue;
        }
        let _ = write!(toml, "{}{table}", if apps > 0 { "\n" } else { "" });
        apps += 1;
        if apps == APPS {
            break;
        }
    }
    let plans = try_out(source, project_app, &toml).filter(|_| apps > 0)?;
    let own: Vec<(String, String)> = plans
        .iter()
        .map(|plan| {
            let name = &plan.spec.name;
            (
                format!("app.{name}"),
                format!("An app was found in {}: {}.", plan.folder, because(plan)),
            )
        })
        .collect();
    Some(Proposal {
        explanations: explanations(&toml, &own),
        apps: plans,
        toml,
        present: None,
        problems: Vec::new(),
    })
}

/// Writes down what was found, as much of it as comes out the same.
fn written(source: &Source, project_app: &AppName, plans: Vec<AppPlan>) -> Proposal {
    for detail in [Detail::Full, Detail::Kind, Detail::Nothing] {
        let (toml, own) = draft(&plans, detail);
        let same = try_out(source, project_app, &toml).is_some_and(|tried| {
            let parts = |plans: &[AppPlan]| -> Vec<_> {
                plans
                    .iter()
                    .map(|plan| (plan.spec.clone(), plan.image.clone(), plan.folder.clone()))
                    .collect()
            };
            parts(&tried) == parts(&plans)
        });
        if same || detail == Detail::Nothing {
            return Proposal {
                explanations: explanations(&toml, &own),
                apps: plans,
                toml,
                present: None,
                problems: Vec::new(),
            };
        }
    }
    nothing(&DetectError { problems: Vec::new() })
}

fn try_out(source: &Source, project_app: &AppName, toml: &str) -> Option<Vec<AppPlan>> {
    let with = source.clone().with_file(WEIR_TOML, toml.as_bytes()).ok()?;
    detect(&with, project_app).ok()
}

/// How much is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Full,
    /// Without the version of the language.
    Kind,
    Nothing,
}

/// A `weir.toml` for one app, with the reasons for its keys.
fn draft(plans: &[AppPlan], detail: Detail) -> (String, Vec<(String, String)>) {
    let (mut toml, mut own) = (String::new(), Vec::new());
    let Some(plan) = plans.first().filter(|_| detail != Detail::Nothing) else {
        return (toml, own);
    };
    let _ = writeln!(toml, "[build]\nkind = {}", quoted(kind_word(plan)));
    own.push(("build.kind".to_owned(), format!("Found: {}.", because(plan))));
    match &plan.image.recipe {
        Recipe::Dockerfile { path, .. } => {
            let _ = writeln!(toml, "dockerfile = {}", quoted(path));
        }
        Recipe::Static { publish } if !publish.is_empty() => {
            let _ = writeln!(toml, "publish = {}", quoted(publish));
        }
        Recipe::Python(PythonPlan {
            base: Base::Stack(stack),
            ..
        })
        | Recipe::Node(NodePlan {
            base: Base::Stack(stack),
            ..
        }) if detail == Detail::Full => {
            let _ = writeln!(toml, "runtime = {}", quoted(&stack.name()));
            own.push((
                "build.runtime".to_owned(),
                "The version that was found; without this line it is looked up anew with each build.".to_owned(),
            ));
        }
        _ => {}
    }
    processes(&plan.spec, &mut toml, &mut own);
    (toml, own)
}

fn processes(spec: &AppSpec, toml: &mut String, own: &mut Vec<(String, String)>) {
    for (name, process) in &spec.processes {
        let default = ProcessSpec::default();
        let _ = writeln!(
            toml,
            "\n[process.{name}]\ninstances = {}\nmemory = {}\ncpu = {}",
            process.instances,
            quoted(&format!("{}MiB", process.memory_bytes >> 20)),
            f64::from(process.cpu_milli) / 1000.0
        );
        let runs = match &process.command {
            Some(command) => format!(
                "It runs `{}`; with `command = …` here another one.",
                crate::detect::one_line(command)
            ),
            None => "It runs what the image starts by itself.".to_owned(),
        };
        let routed = if spec.is_routed(name) {
            " Requests go to it."
        } else {
            " A worker: no requests go to it."
        };
        own.push((format!("process.{name}"), format!("{runs}{routed}")));
        if process.memory_bytes == default.memory_bytes {
            let text = "The usual limit. What needs more is ended; what needs less is paid by what it uses.";
            own.push((format!("process.{name}.memory"), text.to_owned()));
        }
    }
    if let Some(release) = &spec.release {
        let _ = writeln!(toml, "\n[release]\ntimeout = \"{}s\"", release.timeout_s);
        let command = crate::detect::one_line(&release.command);
        own.push((
            "release".to_owned(),
            format!("Runs `{command}` once for each release, before anything is switched."),
        ));
    }
}

fn because(plan: &AppPlan) -> String {
    plan.findings
        .first()
        .cloned()
        .unwrap_or_else(|| kind_word(plan).to_owned())
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The reasons for the lines: one's own where there is one, else what the reference says of the key.
fn explanations(toml: &str, own: &[(String, String)]) -> Vec<(usize, String)> {
    let mut table = String::new();
    let mut found = Vec::new();
    for (index, line) in toml.lines().enumerate() {
        let line = line.trim();
        let path = if let Some(head) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            table = head.trim_start_matches('[').replace(['"', ' '], "");
            table.clone()
        } else if let Some((key, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            let key = key.trim().trim_matches('"');
            if table.is_empty() {
                key.to_owned()
            } else {
                format!("{table}.{key}")
            }
        } else {
            continue;
        };
        let reason = own.iter().find(|(of, _)| *of == path).map(|(_, text)| text.clone());
        if let Some(text) = reason.or_else(|| describe_key(&path)) {
            found.push((index + 1, text));
        }
    }
    found
}
