//! How a Python app starts, if neither `Procfile` nor `weir.toml` says so.

use std::collections::BTreeSet;

use super::Folder;

/// Scripts that start an app, in the order in which they are looked for.
pub(crate) const SCRIPTS: [&str; 8] = [
    "app.py",
    "main.py",
    "server.py",
    "wsgi.py",
    "asgi.py",
    "application.py",
    "run.py",
    "bot.py",
];

/// A start command.
pub(crate) struct Start {
    /// For `/bin/sh -c`.
    pub command: String,
    /// The package that it runs, which must be installed.
    pub server: Option<&'static str>,
    /// Which file said so.
    pub origin: String,
}

/// Looks for a start command.
pub(crate) fn find(folder: &Folder<'_>, packages: &BTreeSet<String>) -> Option<Start> {
    if folder.has("manage.py")
        && let Some(package) = django_package(folder)
    {
        let command = format!("gunicorn --threads 8 {package}.wsgi:application");
        return Some(Start {
            command,
            server: Some("gunicorn"),
            origin: format!("Django, from manage.py and {package}/wsgi.py"),
        });
    }
    let modules = modules(folder);
    let asynchronous = [
        ("fastapi", "FastAPI("),
        ("starlette", "Starlette("),
        ("litestar", "Litestar("),
        ("quart", "Quart("),
    ];
    for (package, call) in asynchronous
        .into_iter()
        .filter(|(package, _)| packages.contains(*package))
    {
        if let Some((file, target)) = modules
            .iter()
            .find_map(|file| Some((file, target(folder, file, call)?)))
        {
            let command = format!("uvicorn {target} --host 0.0.0.0 --port $PORT");
            return Some(Start {
                command,
                server: Some("uvicorn"),
                origin: format!("{package}, from {file}"),
            });
        }
    }
    if packages.contains("flask") {
        for call in ["Flask(", "def create_app("] {
            if let Some((file, target)) = modules
                .iter()
                .find_map(|file| Some((file, target(folder, file, call)?)))
            {
                return Some(Start {
                    command: format!("gunicorn --threads 8 '{target}'"),
                    server: Some("gunicorn"),
                    origin: format!("flask, from {file}"),
                });
            }
        }
    }
    let script = SCRIPTS.into_iter().find(|name| folder.has(name))?;
    if packages.contains("streamlit") {
        let command =
            format!("streamlit run {script} --server.port $PORT --server.address 0.0.0.0 --server.headless true");
        return Some(Start {
            command,
            server: None,
            origin: format!("streamlit, from {script}"),
        });
    }
    Some(Start {
        command: format!("python {script}"),
        server: None,
        origin: format!("from {script}"),
    })
}

/// The package of a Django project: the folder with its `wsgi.py`.
pub(crate) fn django_package(folder: &Folder<'_>) -> Option<String> {
    let named = folder.text("manage.py").and_then(|text| {
        let line = text
            .lines()
            .find(|line| line.contains("DJANGO_SETTINGS_MODULE"))?
            .to_owned();
        let module = line
            .split(['"', '\''])
            .find(|part| part.contains(".settings"))?
            .to_owned();
        Some(module.split(".settings").next()?.replace('.', "/"))
    });
    let named = named.filter(|name| folder.has(&format!("{name}/wsgi.py")));
    let found = || {
        folder
            .list("")
            .into_iter()
            .find(|name| folder.has(&format!("{name}/wsgi.py")))
            .map(str::to_owned)
    };
    named
        .or_else(found)
        .map(|path| path.replace('/', "."))
        .filter(|name| is_module(name))
}

/// Files that may hold the app: at the top, and one folder below.
fn modules(folder: &Folder<'_>) -> Vec<String> {
    let mut modules: Vec<String> = SCRIPTS
        .iter()
        .chain(&["api.py"])
        .filter(|name| folder.has(name))
        .map(|&name| name.to_owned())
        .collect();
    for package in folder.list("").into_iter().take(200) {
        for name in ["main.py", "app.py", "wsgi.py", "asgi.py", "api.py", "__init__.py"] {
            let path = format!("{package}/{name}");
            if folder.has(&path) && is_module(package) {
                modules.push(path);
            }
        }
    }
    modules
}

/// `app.main:api` for a file in which `api = FastAPI(` stands.
fn target(folder: &Folder<'_>, file: &str, call: &str) -> Option<String> {
    let module = file
        .trim_end_matches(".py")
        .trim_end_matches("/__init__")
        .replace('/', ".");
    let text = folder.text(file)?;
    if call.starts_with("def ") {
        let factory = call.trim_start_matches("def ");
        return text
            .lines()
            .any(|line| line.starts_with(call))
            .then(|| format!("{module}:{factory})"));
    }
    // Only at the beginning of a line: what stands in a function is not there to be served.
    let line = text
        .lines()
        .find(|line| line.contains(call) && line.contains('=') && !line.starts_with([' ', '\t', '#']))?;
    let name = line.split(['=', ':']).next()?.trim();
    is_module(name).then(|| format!("{module}:{name}"))
}

/// Whether a text is a Python name, dots allowed: it goes into a command line.
fn is_module(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.')
}
