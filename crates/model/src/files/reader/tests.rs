//! Tests of the reader.

use super::*;
use crate::spec::Writers;
use crate::{AppName, ProcessName};

const WHOLE: &str = r#"
name = "shop"
[build]
runtime = "python:3.11"
packages = ["libpq5"]
[process.web]
command = "gunicorn app:app"
memory = "256MiB"
cpu = 0.5
port = 9000
grace = "20s"
[process.web.check]
path = "/health"
timeout = "2s"
[process.worker]
instances = 2
[process.release]
command = "./migrate"
timeout = "2m"
[volume.data]
path = "/data"
writers = "many"
[[route]]
path = "/jobs"
process = "worker"
[variables]
MODE = "live"
[deploy]
drain = "1m"
"#;

fn problems(text: &str) -> String {
    ProjectFile::parse(text)
        .map(|_| String::new())
        .unwrap_or_else(|problems| problems.to_string())
}

#[test]
fn a_whole_file_becomes_a_specification() {
    let file = ProjectFile::parse(WHOLE).unwrap();
    let apps = file.apps(&AppName::new("project").unwrap());
    let (name, app) = apps.iter().next().unwrap();
    let detected = crate::files::Detected {
        commands: [(ProcessName::new("worker").unwrap(), Some("./work".to_owned()))].into(),
        port: Some(3000),
    };
    let spec = app.spec(name.clone(), &detected).unwrap();
    let web = &spec.processes[&ProcessName::web()];
    assert_eq!(
        (
            spec.name.as_str(),
            web.memory_bytes,
            web.cpu_milli,
            web.port,
            web.grace_s
        ),
        ("shop", 256 << 20, 500, 9000, 20)
    );
    assert_eq!(
        (web.check.path.as_deref(), web.check.timeout_s, web.check.failures),
        (Some("/health"), 2, 3)
    );
    let worker = &spec.processes[&ProcessName::new("worker").unwrap()];
    assert_eq!(
        (worker.command.as_deref(), worker.instances, worker.port),
        (Some("./work"), 2, 3000)
    );
    assert_eq!(spec.release.as_ref().map(|release| release.timeout_s), Some(120));
    assert_eq!(
        spec.volumes.values().next().map(|volume| volume.writers),
        Some(Writers::Many)
    );
    assert_eq!((spec.routes[0].path_prefix.as_str(), spec.drain_s), ("/jobs", 60));
}

#[test]
fn all_problems_are_told_together_with_lines_and_nearest_keys() {
    let text =
        "[proces.web]\n\n[process.web]\nmemory = 512\ninstances = 500\nmemori = \"1GiB\"\n[build]\nkind = \"pyton\"\n";
    assert_eq!(
        problems(text),
        "weir.toml has 5 problems:\n  line 1: unknown key `proces` in the top level; did you mean `process`?\n  \
         line 4: `process.web.memory` must be a size in quotes, like \"512MiB\", not a whole number\n  \
         line 5: `process.web.instances` must be from 0 to 100\n  \
         line 6: unknown key `memori` in [process.web]; did you mean `memory`?\n  \
         line 8: `build.kind` cannot be `pyton`; did you mean `python`? It is one of: auto, dockerfile, python, node, static, image"
    );
}

#[test]
fn a_key_at_the_wrong_place_is_told_its_place() {
    assert!(
        problems("drain = \"3s\"").contains("it belongs in [deploy]"),
        "{}",
        problems("drain = \"3s\"")
    );
    assert!(
        problems("instances = 3").contains("it belongs in [process.NAME]"),
        "{}",
        problems("instances = 3")
    );
}

#[test]
fn meaning_is_checked_with_lines() {
    let text = "[app.api]\nfolder = \"../x\"\n[app.API]\n[app.api.volume.data]\npath = \"/etc/x\"\n[app.api.process.web]\ntimeout = \"3s\"\n";
    let found = problems(text);
    for part in [
        "line 2: `app.api.folder` must be a path inside",
        "line 3: `API` cannot be the name",
        "line 5: a volume cannot lie at /etc/x",
        "line 7: `timeout` is for the process `release`",
    ] {
        assert!(found.contains(part), "{part} missing in {found}");
    }
    assert!(problems("[build]\nruntime = \"a b\\nRUN x\"\n").contains("neither a language"));
    assert!(problems("[volume.a]\n").contains("needs the key `path`"));
    assert!(problems("[variables]\nPORT = \"1\"\n").contains("set by Weir itself"));
}

#[test]
fn broken_and_hostile_files_are_refused_in_few_words() {
    assert!(problems("a = ").contains("line 1"));
    assert!(problems(&"[a]\n".repeat(100_000)).contains("at most"));
    let many: String = (0..2_000).map(|number| format!("k{number} = 1\n")).collect();
    assert!(problems(&many).contains("and 1980 more"));
    let deep = format!("a = {}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(!problems(&deep).is_empty());
}

#[test]
fn the_published_schema_is_the_one_of_the_types() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/weir.schema.json");
    let now = schema_text();
    if std::env::var_os("WEIR_UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let published = std::fs::read_to_string(path).unwrap();
    assert!(
        published == now,
        "run `WEIR_UPDATE_SCHEMA=1 cargo test -p weir-model schema` and commit the file"
    );
}

#[test]
fn the_reference_page_knows_every_key() {
    let page = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/weir-toml.md"
    ))
    .unwrap();
    fn keys(schema: &Value, found: &mut Vec<String>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (key, inner) in properties {
                found.push(key.clone());
                keys(inner, found);
            }
        }
        [schema.get("items"), schema.get("additionalProperties")]
            .into_iter()
            .flatten()
            .for_each(|inner| keys(inner, found));
    }
    let mut found = Vec::new();
    keys(&schema_value(), &mut found);
    let missing: Vec<_> = found.iter().filter(|key| !page.contains(key.as_str())).collect();
    assert!(
        missing.is_empty() && found.len() > 30,
        "not in docs/reference/weir-toml.md: {missing:?}"
    );
}
