//! Python: who installs the dependencies, and what they need beside.

use std::collections::BTreeSet;

use weir_model::files::BuildFile;

use super::requirements::{self, package_name};
use super::{DetectError, Folder, Found, base_of, pdm, poetry, python_start, python_version};
use crate::plan::{PythonDependencies, PythonPlan, PythonTool, Recipe};

/// Python packages that need Debian's: to build, to run.
const NEEDS: [(&str, &[&str], &[&str]); 8] = [
    ("psycopg2", &["libpq-dev", "gcc", "python3-dev"], &["libpq5"]),
    ("psycopg", &[], &["libpq5"]),
    (
        "mysqlclient",
        &["default-libmysqlclient-dev", "gcc", "pkg-config", "python3-dev"],
        &["libmariadb3"],
    ),
    ("python-magic", &[], &["libmagic1"]),
    ("weasyprint", &[], &["libpango-1.0-0", "libpangoft2-1.0-0"]),
    ("opencv-python", &[], &["libgl1", "libglib2.0-0"]),
    ("pyodbc", &[], &["unixodbc"]),
    (
        "python-ldap",
        &["libldap-dev", "libsasl2-dev", "gcc", "python3-dev"],
        &["libldap2"],
    ),
];

/// Whether a folder holds a Python app, by the files of its packaging tools.
pub(crate) fn is_python(folder: &Folder<'_>) -> bool {
    [
        "requirements.txt",
        "pyproject.toml",
        "Pipfile",
        "manage.py",
        "requirements/production.txt",
        "setup.py",
    ]
    .into_iter()
    .any(|name| folder.has(name))
}

/// Whether a folder holds a script that starts a Python app without any dependencies.
pub(crate) fn has_script(folder: &Folder<'_>) -> bool {
    python_start::SCRIPTS.into_iter().any(|name| folder.has(name))
}

/// The dependencies of an app, as far as they can be read without a resolver.
pub(crate) struct Dependencies {
    way: PythonDependencies,
    finding: Option<String>,
    /// Names of direct dependencies.
    pub packages: BTreeSet<String>,
    git: bool,
}

/// Detects a Python app. `has_web` says that its start command is known already.
pub(crate) fn detect(folder: &Folder<'_>, build: &BuildFile, has_web: bool) -> Result<Found, DetectError> {
    let (base, finding) = base_of(build, || python_version::choose(folder, build.runtime.as_deref()))?;
    let project: Option<toml::Table> = match folder.text("pyproject.toml") {
        Some(text) => Some(text.parse().map_err(|error: toml::de::Error| {
            format!("{} cannot be read: {}", folder.at("pyproject.toml"), error.message())
        })?),
        None => None,
    };
    let dependencies = dependencies(folder, project.as_ref());
    let mut findings = vec![finding];
    findings.extend(dependencies.finding.clone());
    let start = if has_web {
        None
    } else {
        python_start::find(folder, &dependencies.packages)
    };
    let mut additional = Vec::new();
    if let Some(server) = start.as_ref().and_then(|start| start.server)
        && !dependencies.packages.contains(server)
    {
        findings.push(format!(
            "{server} is added, because the app does not name it among its dependencies"
        ));
        additional.push(server.to_owned());
    }
    let command = match &build.command {
        Some(command) => Some(command.clone()).filter(|command| !command.trim().is_empty()),
        None => collect_static(folder, &dependencies.packages, &mut findings),
    };
    let mut found = Found {
        start: start.map(|start| (start.command, start.origin)),
        build_packages: if dependencies.git {
            vec!["git".to_owned()]
        } else {
            Vec::new()
        },
        run_packages: Vec::new(),
        findings,
        recipe: Recipe::Python(PythonPlan {
            base,
            dependencies: dependencies.way,
            additional,
            command,
            module_folder: (folder.has_folder("src") && !folder.has("src/__init__.py")).then(|| "src".to_owned()),
        }),
    };
    for (_, to_build, to_run) in NEEDS.iter().filter(|(name, ..)| dependencies.packages.contains(*name)) {
        found
            .build_packages
            .extend(to_build.iter().map(|&package| package.to_owned()));
        found
            .run_packages
            .extend(to_run.iter().map(|&package| package.to_owned()));
    }
    if folder.has("package.json") {
        found.findings.push(
            "package.json is left alone; build.kind = \"node\" in weir.toml would make it a Node.js app".to_owned(),
        );
    }
    Ok(found)
}

fn dependencies(folder: &Folder<'_>, project: Option<&toml::Table>) -> Dependencies {
    let declared = declared(project);
    let tool = |tool: PythonTool, lock: &str, manifest: &str| {
        let files = [lock, manifest]
            .into_iter()
            .filter(|name| folder.has(name))
            .map(str::to_owned)
            .collect();
        let locked = folder.has(lock);
        let text = folder.text(if locked { lock } else { manifest }).unwrap_or_default();
        Dependencies {
            way: PythonDependencies::Tool {
                tool,
                files,
                whole_source: names_paths(&text),
            },
            finding: Some(format!(
                "Dependencies by {} (from {})",
                tool.name(),
                folder.at(if locked { lock } else { manifest })
            )),
            packages: declared.clone(),
            git: text.contains("git+") || text.contains("type = \"git\"") || text.contains("\"git\":"),
        }
    };
    for (which, lock) in [(PythonTool::Uv, "uv.lock"), (PythonTool::Poetry, "poetry.lock")] {
        if project.is_some() && folder.has(lock) {
            return tool(which, lock, "pyproject.toml");
        }
    }
    if let Some(requirements) = folder.text("pdm.lock").and_then(|lock| pdm::requirements(&lock)) {
        return Dependencies {
            git: requirements.iter().any(|line| line.contains("git+")),
            way: PythonDependencies::Project {
                requirements,
                itself: false,
            },
            finding: Some(format!("Dependencies by pip (from {})", folder.at("pdm.lock"))),
            packages: declared,
        };
    }
    if folder.has("Pipfile.lock") || (folder.has("Pipfile") && !folder.has("requirements.txt")) {
        let which = if folder.has("Pipfile.lock") {
            PythonTool::Pipenv
        } else {
            PythonTool::PipenvUnlocked
        };
        let mut found = tool(which, "Pipfile.lock", "Pipfile");
        let pipfile = folder.text("Pipfile").and_then(|text| text.parse::<toml::Table>().ok());
        let packages = pipfile
            .as_ref()
            .and_then(|table| table.get("packages"))
            .and_then(toml::Value::as_table);
        found.packages = packages
            .into_iter()
            .flat_map(|packages| packages.keys())
            .filter_map(|name| package_name(name))
            .collect();
        return found;
    }
    for name in ["requirements.txt", "requirements/production.txt"] {
        if folder.has(name) {
            let found = requirements::read(folder, name);
            return Dependencies {
                way: PythonDependencies::Requirements {
                    files: found.files,
                    whole_source: found.whole_source,
                },
                finding: Some(format!("Dependencies by pip (from {})", folder.at(name))),
                packages: found.packages,
                git: found.git,
            };
        }
    }
    from_project(folder, project, declared)
}

/// Whether a lock file names packages that lie in the source itself.
fn names_paths(lock: &str) -> bool {
    let elsewhere = |line: &str| {
        let uv = ["{ directory = \"", "{ editable = \"", "{ virtual = \"", "{ path = \""]
            .iter()
            .any(|kind| line.contains(kind));
        uv && !line.contains("= \".\"")
    };
    lock.lines()
        .any(|line| elsewhere(line) || line.contains("type = \"directory\"") || line.contains("path = \"./"))
        || lock.contains("\"editable\": true")
}

fn from_project(folder: &Folder<'_>, project: Option<&toml::Table>, declared: BTreeSet<String>) -> Dependencies {
    let nothing = Dependencies {
        way: PythonDependencies::None,
        finding: None,
        packages: BTreeSet::new(),
        git: false,
    };
    let Some(project) = project else { return nothing };
    let Some(table) = project.get("project").and_then(toml::Value::as_table) else {
        let poetry = || project.get("tool")?.get("poetry")?.get("dependencies")?.as_table();
        let Some(table) = poetry() else { return nothing };
        let requirements: Vec<String> = table
            .iter()
            .filter(|(name, _)| *name != "python")
            .filter_map(|(name, wanted)| poetry::requirement(name, wanted))
            .collect();
        return Dependencies {
            git: requirements.iter().any(|line| line.contains("git+")),
            way: PythonDependencies::Project {
                requirements,
                itself: false,
            },
            finding: Some(format!(
                "Dependencies by pip (from {}; there is no poetry.lock, so that versions may differ)",
                folder.at("pyproject.toml")
            )),
            packages: declared,
        };
    };
    let listed = table.get("dependencies").and_then(toml::Value::as_array);
    let requirements: Vec<String> = listed
        .into_iter()
        .flatten()
        .filter_map(toml::Value::as_str)
        .map(|line| line.replace(['\n', '\r'], " "))
        .collect();
    let itself =
        project.contains_key("build-system") && (table.contains_key("scripts") || table.contains_key("entry-points"));
    Dependencies {
        git: requirements.iter().any(|line| line.contains("git+")),
        way: PythonDependencies::Project { requirements, itself },
        finding: Some(format!("Dependencies by pip (from {})", folder.at("pyproject.toml"))),
        packages: declared,
    }
}

/// Names of direct dependencies in `pyproject.toml`.
fn declared(project: Option<&toml::Table>) -> BTreeSet<String> {
    let Some(project) = project else { return BTreeSet::new() };
    let standard = project
        .get("project")
        .and_then(|project| project.get("dependencies"))
        .and_then(toml::Value::as_array);
    let poetry = || project.get("tool")?.get("poetry")?.get("dependencies")?.as_table();
    let standard = standard
        .into_iter()
        .flatten()
        .filter_map(toml::Value::as_str)
        .filter_map(package_name);
    let poetry = poetry()
        .into_iter()
        .flat_map(|table| table.keys())
        .filter_map(|name| package_name(name));
    standard.chain(poetry).collect()
}

/// Django's files for the browser, where the settings say where to.
fn collect_static(folder: &Folder<'_>, packages: &BTreeSet<String>, findings: &mut Vec<String>) -> Option<String> {
    if !folder.has("manage.py") || !packages.contains("django") {
        return None;
    }
    let package = python_start::django_package(folder)?;
    let settings = [
        format!("{package}/settings.py"),
        format!("{package}/settings/base.py"),
        format!("{package}/settings/production.py"),
    ];
    let name = settings.into_iter().find(|name| {
        folder
            .text(name)
            .is_some_and(|text| text.lines().any(|line| line.trim_start().starts_with("STATIC_ROOT")))
    })?;
    findings.push(format!(
        "build: python manage.py collectstatic (STATIC_ROOT is set in {name})"
    ));
    Some("python manage.py collectstatic --noinput".to_owned())
}

impl PythonTool {
    /// The tool's own name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uv => "uv",
            Self::Poetry => "poetry",
            Self::Pipenv | Self::PipenvUnlocked => "pipenv",
        }
    }
}
