use std::fs::File;
use std::io::{Seek as _, Write as _};

use weir_build::{Source, SourceLimits, detect, kind_word, propose};
use weir_model::AppName;

use crate::support::source;

fn shop() -> AppName {
    AppName::new("shop").unwrap()
}

#[test]
fn a_proposal_means_what_the_source_means_without_it() {
    let sources = [
        source(&[
            ("requirements.txt", "flask\n"),
            ("app.py", "from flask import Flask\napp = Flask(__name__)\n"),
        ]),
        source(&[
            (
                "package.json",
                r#"{"scripts":{"start":"node server.js"},"engines":{"node":"22"}}"#,
            ),
            ("server.js", ""),
        ]),
        source(&[("index.html", "<h1>hello</h1>")]),
        source(&[("public/index.html", "<h1>hello</h1>")]),
        source(&[("Dockerfile", "FROM weir-stack/debian:trixie\nCMD [\"true\"]\n")]),
        source(&[
            ("requirements.txt", "flask\ngunicorn\n"),
            (
                "Procfile",
                "web: gunicorn app:app\nworker: python work.py\nrelease: python migrate.py\n",
            ),
            ("app.py", ""),
        ]),
    ];
    for source in sources {
        let plans = detect(&source, &shop()).unwrap();
        let proposal = propose(&source, &shop());
        assert_eq!(proposal.problems, []);
        assert!(!proposal.toml.is_empty(), "{plans:?}");
        let with = source.with_file("weir.toml", proposal.toml.as_bytes()).unwrap();
        let tried = detect(&with, &shop()).unwrap_or_else(|error| panic!("{error}\n{}", proposal.toml));
        assert_eq!(tried.len(), plans.len());
        for (one, other) in tried.iter().zip(&plans) {
            assert_eq!(
                (&one.spec, &one.image),
                (&other.spec, &other.image),
                "{}",
                proposal.toml
            );
        }
        // Each line that says something is explained.
        let spoken = proposal.toml.lines().filter(|line| !line.trim().is_empty()).count();
        assert_eq!(
            proposal.explanations.len(),
            spoken,
            "{}\n{:?}",
            proposal.toml,
            proposal.explanations
        );
    }
}

#[test]
fn apps_in_folders_are_found() {
    let source = source(&[
        ("README.md", "both"),
        ("Api Server/requirements.txt", "flask\n"),
        ("Api Server/app.py", "from flask import Flask\napp = Flask(__name__)\n"),
        ("pages/index.html", "hello"),
        ("docs/notes.txt", "nothing"),
    ]);
    let proposal = propose(&source, &shop());
    let names: Vec<_> = proposal
        .apps
        .iter()
        .map(|plan| (plan.spec.name.to_string(), kind_word(plan)))
        .collect();
    assert_eq!(names.len(), 2, "{proposal:?}");
    assert!(names.contains(&("api-server".to_owned(), "python")) && names.contains(&("pages".to_owned(), "static")));
    assert!(
        proposal.toml.contains("[app.api-server]\nfolder = \"Api Server\"\n"),
        "{}",
        proposal.toml
    );
}

#[test]
fn a_weir_toml_that_is_there_stays_and_is_explained() {
    let toml = "[build]\nkind = \"static\"\n\n# mine\n[process.web]\nmemory = \"1GiB\"\n";
    let good = propose(&source(&[("index.html", ""), ("weir.toml", toml)]), &shop());
    assert_eq!((good.toml.as_str(), good.present.as_deref()), (toml, Some(toml)));
    let lines: Vec<usize> = good.explanations.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 2, 5, 6]);
    let bad = propose(
        &source(&[("index.html", ""), ("weir.toml", "[build]\nkid = 1\n")]),
        &shop(),
    );
    assert_eq!(bad.problems[0].line, Some(2), "{:?}", bad.problems);
    let empty = propose(&source(&[("notes.txt", "")]), &shop());
    assert!(
        empty.problems[0].title.contains("nothing in the root"),
        "{:?}",
        empty.problems
    );
    assert!(
        empty.problems[0]
            .hint
            .as_deref()
            .unwrap_or_default()
            .contains("looked for")
    );
}

fn zip(entries: &[(&str, &str)]) -> File {
    let mut writer = zip::ZipWriter::new(tempfile::tempfile().unwrap());
    for (name, content) in entries {
        writer
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    let mut file = writer.finish().unwrap();
    file.rewind().unwrap();
    file
}

#[test]
fn a_zip_is_a_source_and_a_folder_around_it_is_none() {
    let read = |file| Source::from_archive(file, &SourceLimits::default(), &std::env::temp_dir());
    let source = read(zip(&[
        ("shop-main/index.html", "hello"),
        ("shop-main/a/b.txt", "b"),
        ("__MACOSX/x", "junk"),
    ]))
    .unwrap();
    assert_eq!(source.text("index.html").as_deref(), Some("hello"));
    assert_eq!(source.list(""), ["a", "index.html"]);
    let site = read(zip(&[("public/index.html", "hello")])).unwrap();
    assert_eq!(site.list(""), ["public"], "the folder means something by its name");
    for name in ["../out", "/etc/passwd", "a/../../b"] {
        assert!(read(zip(&[(name, "x")])).is_err(), "{name}");
    }
    let mut cut = zip(&[("a", "content")]);
    let length = cut.metadata().unwrap().len();
    cut.set_len(length - 10).unwrap();
    cut.rewind().unwrap();
    assert!(read(cut).is_err());
    let limits = SourceLimits {
        total_bytes: 1000,
        ..SourceLimits::default()
    };
    let bomb = zip(&[("zeros", &"0".repeat(100_000))]);
    assert!(Source::from_archive(bomb, &limits, &std::env::temp_dir()).is_err());
}
