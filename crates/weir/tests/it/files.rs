//! What is sent and taken in parts: uploads, files of volumes, proposals.

use axum::http::Method;

use crate::fake::Fake;
use crate::support::{finish, weir};

const UPLOAD: &str = "/v1/projects/shop/environments/production/volumes/data/uploads/upl_1";

fn put(fake: &Fake) -> crate::support::Outcome {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.db"), "some bytes").unwrap();
    finish(weir(fake, folder.path()).args(["volume", "put", "app.db", "data:/app.db", "-p", "shop"]))
}

#[test]
fn an_upload_that_fails_is_forgotten() {
    let fake = Fake::start();
    fake.memory.lock().unwrap().files.refusal = Some((409, "file-exists"));
    put(&fake).ends_with(6).says(&["it cannot be put there"]);
    assert_eq!(fake.asked(&Method::DELETE, UPLOAD).len(), 1);

    let fake = Fake::start();
    put(&fake).ends_with(0);
    assert_eq!(fake.memory.lock().unwrap().files.received, b"some bytes");
    assert!(
        fake.asked(&Method::DELETE, UPLOAD).is_empty(),
        "what is in its place needs no more"
    );
}

#[test]
fn what_is_busy_is_asked_again() {
    let fake = Fake::start();
    fake.memory.lock().unwrap().files.busy = 3;
    fake.memory.lock().unwrap().files.upload_busy = 2;
    put(&fake).ends_with(0);
    let begun = fake.asked(&Method::POST, UPLOAD.trim_end_matches("/upl_1"));
    assert_eq!(begun.len(), 4);
    assert!(
        begun
            .iter()
            .all(|asked| asked.idempotency_key == begun[0].idempotency_key),
        "under one key"
    );
    assert_eq!(fake.memory.lock().unwrap().files.received, b"some bytes", "sent once");

    // But not for ever.
    let fake = Fake::start();
    fake.memory.lock().unwrap().files.busy = 1_000;
    put(&fake).ends_with(1).says(&["too much is being done"]);
    assert_eq!(fake.asked(&Method::POST, UPLOAD.trim_end_matches("/upl_1")).len(), 13);
}

#[test]
fn a_file_that_breaks_off_goes_on_where_it_ended() {
    let fake = Fake::start();
    {
        let files = &mut fake.memory.lock().unwrap().files;
        (files.breaks, files.breaks_after, files.busy) = (2, 30_000, 1);
    }
    let folder = tempfile::tempdir().unwrap();
    let get = || finish(weir(&fake, folder.path()).args(["volume", "get", "data:/app.db", "-p", "shop"]));
    let there = || {
        let names = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names
    };
    assert_eq!(get().ends_with(0).stdout, "app.db\n");
    let content = fake.memory.lock().unwrap().files.content.clone();
    assert_eq!(std::fs::read(folder.path().join("app.db")).unwrap(), content);
    assert_eq!(there(), ["app.db"]);
    let ranges = std::mem::take(&mut fake.memory.lock().unwrap().files.ranges);
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    assert!(
        ranges[0].is_none() && ranges[1..].iter().all(Option::is_some),
        "{ranges:?}"
    );
    std::fs::remove_file(folder.path().join("app.db")).unwrap();

    // An earlier command came so far; the next goes on from there, also if only the name was missing.
    for came in [40_000, content.len()] {
        std::fs::write(folder.path().join("app.db.part"), &content[..came]).unwrap();
        std::fs::write(folder.path().join("app.db.part.tag"), crate::fake_files::TAG).unwrap();
        get().ends_with(0);
        assert_eq!(std::fs::read(folder.path().join("app.db")).unwrap(), content);
        assert_eq!(there(), ["app.db"]);
        let ranges = std::mem::take(&mut fake.memory.lock().unwrap().files.ranges);
        assert_eq!(ranges, [Some(format!("bytes={came}-"))]);
    }

    // What is of another file, or of nobody knows which, is not gone on with.
    for tag in [Some("\"another\""), None] {
        std::fs::write(folder.path().join("app.db.part"), "something else").unwrap();
        if let Some(tag) = tag {
            std::fs::write(folder.path().join("app.db.part.tag"), tag).unwrap();
        }
        get().ends_with(0);
        assert_eq!(std::fs::read(folder.path().join("app.db")).unwrap(), content, "{tag:?}");
        assert_eq!(there(), ["app.db"]);
    }
}

#[test]
fn a_proposal_is_a_file_with_its_reasons_and_leaves_no_upload() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.py"), "print(1)").unwrap();
    std::fs::write(folder.path().join("source.zip"), "PK").unwrap();
    fake.memory.lock().unwrap().files.busy = 1;
    let words = ["-----> shop: python in ., app.py", "At worst 0.02 EUR an hour"];
    let outcome = finish(weir(&fake, folder.path()).args(["propose", "-p", "shop"]))
        .ends_with(0)
        .says(&words);
    assert_eq!(
        outcome.stdout,
        "[process.web]\n# app.py was found.\ncommand = \"python app.py\"\n"
    );
    let upload = "/v1/projects/shop/environments/production/uploads/upl_1";
    assert_eq!(fake.asked(&Method::DELETE, upload).len(), 1);

    // An archive is sent as it is; what is wrong ends it with 1, and leaves no upload either.
    {
        let files = &mut fake.memory.lock().unwrap().files;
        files.received.clear();
        files.busy = 0;
    }
    let propose = |fake: &Fake, words: &[&str]| finish(weir(fake, folder.path()).args(words));
    propose(&fake, &["propose", "source.zip", "-p", "shop"]).ends_with(0);
    assert_eq!(fake.memory.lock().unwrap().files.received, b"PK");
    assert_eq!(fake.asked(&Method::DELETE, upload).len(), 2);
    let json = propose(&fake, &["propose", "source.zip", "-p", "shop", "--json"])
        .ends_with(0)
        .json();
    assert_eq!(json["apps"][0]["kind"], "python");
    fake.memory.lock().unwrap().files.lacks = Some("nothing listens");
    propose(&fake, &["propose", "-p", "shop"])
        .ends_with(1)
        .says(&["nothing listens (line 2)\n  add it", "one thing is wrong or missing"]);
    assert_eq!(fake.asked(&Method::DELETE, upload).len(), 4);
}
