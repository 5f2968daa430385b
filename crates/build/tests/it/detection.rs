//! What is found in sources, and what is said of it.

use weir_build::{Base, Recipe, detect};
use weir_model::AppName;

use crate::support::{command_of, example, plans, project, source};

fn findings(files: &[(&str, &str)]) -> String {
    plans(&source(files))[0].findings.join("\n")
}

fn problem(files: &[(&str, &str)]) -> String {
    detect(&source(files), &project())
        .map(|plans| panic!("accepted: {plans:?}"))
        .unwrap_or_else(|error| error.to_string())
}

fn web(files: &[(&str, &str)]) -> String {
    command_of(&plans(&source(files))[0], "web").unwrap_or_default()
}

#[test]
fn examples_are_detected() {
    let python = plans(&example("python")).remove(0);
    assert_eq!(
        python.findings,
        [
            "Python 3.13 (from .python-version)",
            "Dependencies by pip (from requirements.txt)",
            "release: python release.py (from Procfile)",
            "web: gunicorn --threads 8 app:app (from Procfile)",
            "worker: python worker.py (from Procfile)",
        ]
    );
    assert_eq!(
        python.spec.release.map(|release| release.command).as_deref(),
        Some("python release.py")
    );
    let apps = plans(&example("monorepo"));
    assert_eq!(
        apps.iter()
            .map(|app| (app.spec.name.as_str(), app.folder.as_str()))
            .collect::<Vec<_>>(),
        [("web", "site"), ("api", "api")]
    );
    assert_eq!(apps[1].spec.variables["GREETING"], "Hello from the API");
    assert!(plans(&example("volume"))[0].spec.is_exclusive());
}

#[test]
fn start_commands_follow_the_framework() {
    let django = [
        (
            "manage.py",
            "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')",
        ),
        ("shop/wsgi.py", ""),
        ("shop/settings.py", "STATIC_ROOT = 'x'"),
        ("requirements.txt", "Django==5\n"),
    ];
    assert_eq!(web(&django), "gunicorn --threads 8 shop.wsgi:application");
    assert!(findings(&django).contains("gunicorn is added") && findings(&django).contains("collectstatic"));
    assert_eq!(
        web(&[
            ("requirements.txt", "fastapi\nuvicorn[standard]"),
            ("app/main.py", "api: FastAPI = FastAPI()\n")
        ]),
        "uvicorn app.main:api --host 0.0.0.0 --port $PORT"
    );
    assert_eq!(
        web(&[
            ("requirements.txt", "Flask"),
            ("site/__init__.py", "def create_app():\n")
        ]),
        "gunicorn --threads 8 'site:create_app()'"
    );
    assert_eq!(web(&[("main.py", "print(1)")]), "python main.py");
    assert_eq!(
        web(&[("package.json", r#"{"scripts":{"start":"node x.js"}}"#)]),
        "node x.js"
    );
    assert_eq!(
        web(&[("package.json", r#"{"scripts":{"start":"node x.js","prestart":"y"}}"#)]),
        "npm run --silent start"
    );
    assert_eq!(
        web(&[("package.json", r#"{"main":"./lib.js"}"#), ("lib.js", "")]),
        "node lib.js"
    );
}

#[test]
fn versions_come_from_the_files_that_name_them() {
    let base = |files: &[(&str, &str)]| match &plans(&source(files))[0].image.recipe {
        Recipe::Python(python) => python.base.clone(),
        Recipe::Node(node) => node.base.clone(),
        other => panic!("{other:?}"),
    };
    let name = |files: &[(&str, &str)]| match base(files) {
        Base::Stack(stack) => stack.name(),
        Base::Image(reference) => reference,
    };
    assert_eq!(name(&[("app.py", "")]), "python:3.13");
    assert_eq!(
        name(&[("app.py", ""), ("runtime.txt", "python-3.11.4\n")]),
        "python:3.11"
    );
    assert_eq!(
        name(&[
            ("app.py", ""),
            (
                "pyproject.toml",
                "[project]\nname='x'\nrequires-python = '>=3.9,<3.13'\n"
            )
        ]),
        "python:3.11"
    );
    assert_eq!(
        name(&[("app.py", ""), (".python-version", "3.12\n")]),
        "docker.io/library/python:3.12-slim"
    );
    assert_eq!(
        name(&[("index.js", ""), ("package.json", "{}"), (".nvmrc", "v20.11.1")]),
        "node:20.11.1"
    );
    assert_eq!(
        name(&[("index.js", ""), ("package.json", r#"{"engines":{"node":">=18 <23"}}"#)]),
        "node:22"
    );
    assert_eq!(
        name(&[
            ("index.js", ""),
            ("package.json", "{}"),
            ("weir.toml", "[build]\nruntime = 'docker.io/library/node:22-slim'")
        ]),
        "docker.io/library/node:22-slim"
    );
    assert!(problem(&[("app.py", ""), (".python-version", "2.7")]).contains("there is 3.13 and 3.11"));
}

#[test]
fn files_win_over_each_other_in_the_documented_order() {
    let files = [
        ("Dockerfile", "FROM scratch"),
        ("requirements.txt", ""),
        ("app.py", ""),
        ("package.json", "{}"),
        ("index.html", ""),
    ];
    assert!(findings(&files).starts_with("Dockerfile"));
    assert!(findings(&files[1..]).starts_with("Python"));
    assert!(findings(&files[4..]).starts_with("Static site"));
    let mut forced = files.to_vec();
    forced.push((
        "weir.toml",
        "[build]\nkind = \"python\"\n[process.web]\ncommand = \"mine\"\n",
    ));
    forced.push(("Procfile", "web: theirs\nworker: work\n"));
    let plan = plans(&source(&forced)).remove(0);
    assert!(plan.findings[0].starts_with("Python"));
    assert_eq!(
        (
            command_of(&plan, "web").as_deref(),
            command_of(&plan, "worker").as_deref()
        ),
        (Some("mine"), Some("work"))
    );
}

#[test]
fn what_cannot_be_told_is_said_with_what_to_do() {
    let nothing = problem(&[("readme.txt", "x")]);
    assert!(
        nothing.contains("looked for: Dockerfile; requirements.txt")
            && nothing.contains("there is: readme.txt")
            && nothing.contains("try: add"),
        "{nothing}"
    );
    assert!(problem(&[("requirements.txt", "requests"), ("x.py", "")]).contains("add a file `Procfile`"));
    assert!(
        problem(&[("weir.toml", "[app.a]\nfolder = \"x\"\n[app.b]\nfolder = \"y\"\n")])
            .lines()
            .count()
            == 2
    );
    assert!(problem(&[("weir.toml", "[buidl]\n")]).contains("did you mean `build`"));
    assert!(problem(&[("bun.lock", ""), ("package.json", "{}"), ("index.js", "")]).contains("Bun"));
    assert!(problem(&[("Procfile", "release: x\n"), ("app.py", "")]).contains("no process besides `release`"));
}

#[test]
fn a_worker_may_take_the_images_own_command() {
    let files = [
        ("Dockerfile", "FROM scratch"),
        ("weir.toml", "[process.worker]\nmemory = \"64MiB\"\n"),
    ];
    let plan = plans(&source(&files)).remove(0);
    assert_eq!(
        plan.spec.processes.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
        ["worker"]
    );
    let both = [files[0], ("weir.toml", "[process.worker]\ncommand = \"work\"\n")];
    assert_eq!(plans(&source(&both))[0].spec.processes.len(), 2);
    assert_eq!(AppName::new("shop").unwrap(), plan.spec.name);
}
