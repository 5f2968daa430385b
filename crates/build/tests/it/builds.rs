//! Builds on real Docker. The first run on a machine makes the stacks, which takes a minute.

use weir_build::BuildLine;
use weir_model::ProcessName;

use crate::support::{Container, build, command_of, engine, example, plans, remove, run, source};

#[tokio::test]
async fn python_example_is_built_and_serves_and_a_change_is_quick() {
    let Some(engine) = engine().await else { return };
    let first = example("python");
    let plan = plans(&first).remove(0);
    let outcome = build(&engine, &first, &plan, "python", &[]).await;
    let built = outcome.result.as_ref().unwrap();
    assert!(Container::start(built).get("/").contains("Hello from Weir"));
    assert_eq!(
        run(
            &built.image,
            "id -un; touch /app/x && echo writable; ls /run/weir 2>&1 | wc -l; env | grep -c CERT; true"
        ),
        "app\nwritable\n1\n0"
    );

    // New each time, so that no cache of an earlier run helps.
    let changed_to = format!("Changed {}", std::process::id());
    let files: Vec<(String, String)> = first
        .entries()
        .filter_map(|(path, _)| Some((path.to_owned(), first.text(path)?)))
        .collect();
    let changed: Vec<(&str, String)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.replace("Hello from Weir", &changed_to)))
        .collect();
    let second = source(
        &changed
            .iter()
            .map(|(path, text)| (*path, text.as_str()))
            .collect::<Vec<_>>(),
    );
    let again = build(&engine, &second, &plan, "python", &[]).await;
    assert!(
        again
            .lines
            .iter()
            .any(|line| matches!(line, BuildLine::Info(text) if text == "installing dependencies (as before)")),
        "{:?}",
        again.lines
    );
    let rebuilt = again.result.as_ref().unwrap();
    assert_ne!(rebuilt.image, built.image);
    assert!(Container::start(rebuilt).get("/").contains(&changed_to));
    println!("second build of changed code: {:?}", again.took);
    remove(&engine, &again).await;
}

#[tokio::test]
async fn node_example_is_built_by_npm_and_serves() {
    let Some(engine) = engine().await else { return };
    let source = example("node");
    let plan = plans(&source).remove(0);
    let outcome = build(&engine, &source, &plan, "node", &[]).await;
    let built = outcome.result.as_ref().unwrap();
    let answer = Container::start(built).get("/");
    assert!(
        answer.contains("built by npm run build") && answer.contains("\"node\":\"v24."),
        "{answer}"
    );
    remove(&engine, &outcome).await;
}

#[tokio::test]
async fn static_example_is_served_with_types_and_without_dot_files() {
    let Some(engine) = engine().await else { return };
    let site = example("static");
    let outcome = build(&engine, &site, &plans(&site)[0], "static", &[]).await;
    let container = Container::start(outcome.result.as_ref().unwrap());
    assert!(container.get("/").contains("A site of files"));
    assert!(container.get("/css/style.css").contains("text/css"));
    assert!(container.get("/about").contains("<h1>About"));
    let missing = container.get("/nothing");
    assert!(missing.contains("404") && missing.contains("Not here"), "{missing}");
    assert!(container.get("/.env").contains("404"));
    drop(container);
    remove(&engine, &outcome).await;
}

#[tokio::test]
async fn dockerfile_example_installs_by_pip_and_its_port_is_found() {
    let Some(engine) = engine().await else { return };
    let source = example("dockerfile");
    let outcome = build(&engine, &source, &plans(&source)[0], "dockerfile", &[]).await;
    let built = outcome.result.as_ref().unwrap();
    let web = &built.spec.processes[&ProcessName::web()];
    assert_eq!((web.port, web.command.as_deref()), (9000, None));
    assert!(Container::start(built).get("/abc").contains("/abc."));
    assert_eq!(run(&built.image, "env | grep -c -e CERT -e CA_ ; true"), "0");
    remove(&engine, &outcome).await;
}

#[tokio::test]
async fn monorepo_volume_and_websocket_examples_are_built() {
    let Some(engine) = engine().await else { return };
    let monorepo = example("monorepo");
    for plan in plans(&monorepo) {
        let outcome = build(&engine, &monorepo, &plan, &format!("monorepo-{}", plan.spec.name), &[]).await;
        let answer = Container::start(outcome.result.as_ref().unwrap()).get("/");
        assert!(
            answer.contains(if plan.spec.name.as_str() == "api" {
                "Hello from the API"
            } else {
                "The site of a monorepo"
            }),
            "{answer}"
        );
        remove(&engine, &outcome).await;
    }
    for (name, wanted) in [("volume", "1"), ("websocket", "a websocket echo")] {
        let source = example(name);
        let outcome = build(&engine, &source, &plans(&source)[0], name, &[]).await;
        let built = outcome.result.as_ref().unwrap();
        assert!(Container::start(built).get("/").contains(wanted));
        remove(&engine, &outcome).await;
    }
}

#[tokio::test]
async fn a_failing_build_shows_the_lines_that_matter_and_a_hint() {
    let Some(engine) = engine().await else { return };
    let broken = source(&[("requirements.txt", "flask==99.99.99\n"), ("app.py", "x")]);
    let outcome = build(&engine, &broken, &plans(&broken)[0], "broken", &[]).await;
    let error = outcome.result.unwrap_err();
    assert_eq!(error.message, "installing the dependencies failed with exit status 1");
    assert!(
        error.lines.iter().any(|line| line.contains("flask==99.99.99")),
        "{error:?}"
    );
    assert!(error.hint.unwrap().contains("check its name and version"));
}

#[tokio::test]
async fn build_variables_reach_the_build_and_stay_out_of_the_image() {
    let Some(engine) = engine().await else { return };
    let files = [
        ("main.py", "print(1)"),
        (
            "weir.toml",
            "[build]\ncommand = \"printf %s \\\"$TOKEN\\\" | wc -c >made\"\n",
        ),
    ];
    let app = source(&files);
    let outcome = build(&engine, &app, &plans(&app)[0], "variables", &[("TOKEN", "se'cret")]).await;
    let built = outcome.result.as_ref().unwrap();
    assert_eq!(run(&built.image, "cat /app/made; env | grep -c TOKEN; true"), "7\n0");
    let users = source(&[
        (
            "Dockerfile",
            "FROM weir-stack/debian:trixie\nARG TOKEN\nRUN test \"$TOKEN\" = secret\nCOPY . /x\nCMD [\"true\"]\n",
        ),
        (".dockerignore", "*.log\n"),
        ("a.log", "x"),
        ("a.txt", "x"),
    ]);
    let second = build(
        &engine,
        &users,
        &plans(&users)[0],
        "users-variables",
        &[("TOKEN", "secret"), ("OTHER", "x")],
    )
    .await;
    assert_eq!(
        run(&second.result.as_ref().unwrap().image, "ls -A /x"),
        ".dockerignore\nDockerfile\na.txt"
    );
    remove(&engine, &outcome).await;
    remove(&engine, &second).await;
}

#[tokio::test]
async fn a_dependency_that_must_be_compiled_gets_compilers() {
    let Some(engine) = engine().await else { return };
    let app = source(&[
        ("requirements.txt", "markupsafe\n--no-binary=markupsafe\n"),
        ("main.py", "import markupsafe._speedups; print('fast')"),
        ("Procfile", "worker: python main.py\n"),
    ]);
    let plan = plans(&app).remove(0);
    assert_eq!(command_of(&plan, "worker").as_deref(), Some("python main.py"));
    let outcome = build(&engine, &app, &plan, "compiled", &[]).await;
    let image = &outcome.result.as_ref().unwrap().image;
    assert_eq!(run(image, "ls /usr/bin/gcc 2>/dev/null; python main.py 2>&1 | tail -1 | cut -c1-40; python -c 'import markupsafe; print(1)'").lines().last(), Some("1"));
    remove(&engine, &outcome).await;
}

/// Every tool once, with lock files that the tools themselves make in the build's own stack.
#[tokio::test]
async fn lock_files_of_the_other_tools_are_installed() {
    let Some(engine) = engine().await else { return };
    let package =
        r#"{"name":"x","private":true,"dependencies":{"ms":"2.1.3"},"scripts":{"start":"node -e \"require('ms')\""}}"#;
    let yarn = "# yarn lockfile v1\n\n\nms@2.1.3:\n  version \"2.1.3\"\n  resolved \"https://registry.yarnpkg.com/ms/-/ms-2.1.3.tgz#574c8138ce1d2b5861f0b44579dbadd60c6615b2\"\n  integrity sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==\n";
    let pnpm = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .:\n    dependencies:\n      ms:\n        specifier: 2.1.3\n        version: 2.1.3\n\npackages:\n\n  ms@2.1.3:\n    resolution: {integrity: sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==}\n\nsnapshots:\n\n  ms@2.1.3: {}\n";
    let pipfile = "[packages]\nidna = \"*\"\n";
    let poetry = "[tool.poetry]\nname = \"x\"\nversion = \"1\"\ndescription = \"\"\nauthors = []\n[tool.poetry.dependencies]\npython = \"^3.11\"\nidna = \"*\"\n";
    let project = "[project]\nname = \"x\"\nversion = \"1\"\nrequires-python = \">=3.11\"\ndependencies = [\"idna\"]\n";
    let pinned =
        "[project]\nname = \"x\"\nversion = \"1\"\nrequires-python = \">=3.11\"\ndependencies = [\"idna==3.10\"]\n";
    let uv = "version = 1\nrevision = 1\nrequires-python = \">=3.11\"\n\n[[package]]\nname = \"idna\"\nversion = \"3.10\"\nsource = { registry = \"https://pypi.org/simple\" }\nwheels = [\n    { url = \"https://files.pythonhosted.org/packages/76/c6/c88e154df9c4e1a2a66ccf0005a88dfb2650c1dffb6f5ce603dfbd452ce3/idna-3.10-py3-none-any.whl\", hash = \"sha256:946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3\" },\n]\n\n[[package]]\nname = \"x\"\nversion = \"1\"\nsource = { virtual = \".\" }\ndependencies = [\n    { name = \"idna\" },\n]\n\n[package.metadata]\nrequires-dist = [{ name = \"idna\", specifier = \"==3.10\" }]\n";
    let locked = "[[package]]\nname = \"idna\"\nversion = \"3.10\"\ndescription = \"\"\noptional = false\npython-versions = \">=3.6\"\ngroups = [\"main\"]\nfiles = [\n    {file = \"idna-3.10-py3-none-any.whl\", hash = \"sha256:946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3\"},\n]\n\n[metadata]\nlock-version = \"2.1\"\npython-versions = \">=3.11\"\ncontent-hash = \"8f815281f3062ded4286715f4f207bce9f3535a6121b66d9abfcdb5c6da95837\"\n";
    for (name, files) in [
        (
            "uv",
            vec![("pyproject.toml", pinned), ("uv.lock", uv), ("main.py", "import idna")],
        ),
        (
            "poetry-locked",
            vec![
                ("pyproject.toml", pinned),
                ("poetry.lock", locked),
                ("main.py", "import idna"),
            ],
        ),
        ("yarn", vec![("package.json", package), ("yarn.lock", yarn)]),
        ("pnpm", vec![("package.json", package), ("pnpm-lock.yaml", pnpm)]),
        ("pipenv", vec![("Pipfile", pipfile), ("main.py", "import idna")]),
        ("poetry", vec![("pyproject.toml", poetry), ("main.py", "import idna")]),
        ("project", vec![("pyproject.toml", project), ("main.py", "import idna")]),
    ] {
        let app = source(&files);
        let plan = plans(&app).remove(0);
        let outcome = build(&engine, &app, &plan, name, &[]).await;
        let command = command_of(&plan, "web").unwrap();
        run(&outcome.result.as_ref().unwrap().image, &command);
        remove(&engine, &outcome).await;
    }
}

#[tokio::test]
async fn two_builds_at_once_make_a_stack_once_and_in_a_private_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(engine) = engine().await else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let stack = weir_build::Stack::Python {
        version: "3.11".to_owned(),
    };
    let bundle = std::path::Path::new("/etc/ssl/certs/ca-certificates.crt");
    let quiet = |_: BuildLine| {};
    let ca = bundle.exists().then_some(bundle);
    let (one, other) = tokio::join!(
        weir_build::ensure_stack(&engine, &stack, ca, folder.path(), &quiet),
        weir_build::ensure_stack(&engine, &stack, ca, folder.path(), &quiet)
    );
    assert!(!(one.unwrap() && other.unwrap()));
    assert!(run(&stack.tag(), "python --version").starts_with("Python 3.11"));
}
