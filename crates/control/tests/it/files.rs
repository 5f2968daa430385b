//! Files of volumes, and uploads that go on where they broke off.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use weir_model::{AppName, VolumeName};

use crate::harness::{Control, answer};

const AT: &str = "/v1/projects/shop/environments/production";

/// A control with the volume `data` of the app `data`; gives the folder of it.
async fn with_volume() -> (Control, PathBuf) {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    let folder = control.folder.path().join("volume");
    std::fs::create_dir(&folder).unwrap();
    let (app, volume) = (AppName::new("data").unwrap(), VolumeName::new("data").unwrap());
    let environment = control.production(&shop).await.id;
    control.engine.volume_place(environment, &app, &volume, folder.clone());
    (control, folder)
}

fn volume(rest: &str) -> String {
    format!("{AT}/volumes/data{rest}")
}

async fn append(control: &Control, path: &str, offset: u64, part: Vec<u8>) -> (StatusCode, Option<u64>, Value) {
    let request = control.as_admin(Method::PATCH, path).header("upload-offset", offset);
    let response = request.body(part).send().await.unwrap();
    let there = response
        .headers()
        .get("upload-offset")
        .map(|value| value.to_str().unwrap().parse().unwrap());
    (response.status(), there, response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn files_are_listed_read_written_and_removed() {
    let (control, folder) = with_volume().await;
    std::fs::create_dir(folder.join("sub")).unwrap();
    std::fs::write(folder.join("sub/a <b>.html"), "<script>alert(1)</script>").unwrap();
    symlink("/etc/passwd", folder.join("link")).unwrap();
    let (status, body) = control.call(Method::GET, &format!("{AT}/volumes"), None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        (&body[0]["name"], &body[0]["path"], &body[0]["files"]),
        (&json!("data"), &json!("/data"), &json!(2))
    );
    let (_, body) = control.call(Method::GET, &volume("/files?path=/"), None).await;
    let kinds: Vec<_> = body["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["link", "folder"]);
    assert_eq!(body["entries"][0]["target"], "/etc/passwd");

    // What a tenant has made is never a page of Weir's.
    let content = volume("/content?path=/sub/a%2520%3Cb%3E.html");
    let response = control.as_admin(Method::GET, &content).send().await.unwrap();
    let head = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(head("content-security-policy"), "sandbox");
    assert_eq!(head("content-type"), "application/octet-stream");
    assert_eq!(
        head("content-disposition"),
        "attachment; filename=\"a _b_.html\"; filename*=UTF-8''a%20%3Cb%3E%2Ehtml"
    );
    let tag = head("etag");
    assert_eq!(response.text().await.unwrap(), "<script>alert(1)</script>");

    let part = control
        .as_admin(Method::GET, &content)
        .header("range", "bytes=1-6")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 1-6/25");
    assert_eq!(part.text().await.unwrap(), "script");
    let beyond = control
        .as_admin(Method::GET, &content)
        .header("range", "bytes=25-")
        .send()
        .await
        .unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let same = control
        .as_admin(Method::GET, &content)
        .header("if-none-match", &tag)
        .send()
        .await
        .unwrap();
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);

    let put = |tag: &str| {
        control
            .as_admin(Method::PUT, &content)
            .header("if-match", tag)
            .body("new")
    };
    let (status, body) = answer(put(&tag)).await;
    assert_eq!((status, &body["bytes"]), (StatusCode::OK, &json!(3)), "{body}");
    let (status, body) = answer(put(&tag)).await;
    assert_eq!(
        (status, &body["type"]),
        (StatusCode::PRECONDITION_FAILED, &json!("file-changed"))
    );
    assert_eq!(std::fs::read(folder.join("sub/a <b>.html")).unwrap(), b"new");
}

#[tokio::test]
async fn folders_are_made_moved_and_removed_by_name() {
    let (control, folder) = with_volume().await;
    std::fs::create_dir(folder.join("sub")).unwrap();
    let (status, _) = control
        .call(Method::POST, &volume("/folders"), Some(json!({"path": "/new"})))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, body) = control
        .call(Method::POST, &volume("/folders"), Some(json!({"path": "/new"})))
        .await;
    assert_eq!((status, &body["type"]), (StatusCode::CONFLICT, &json!("file-exists")));
    let moved = json!({"from": "/sub", "to": "/new/moved"});
    assert_eq!(
        control.call(Method::POST, &volume("/moves"), Some(moved)).await.0,
        StatusCode::NO_CONTENT
    );
    let (status, body) = control
        .call(Method::DELETE, &volume("/files?path=/new&confirm=old"), None)
        .await;
    assert_eq!(
        (status, &body["type"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("confirm"))
    );
    assert!(folder.join("new/moved").exists());
    let (status, _) = control
        .call(Method::DELETE, &volume("/files?path=/new&confirm=new"), None)
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(!folder.join("new").exists());
}

#[tokio::test]
async fn paths_that_lead_out_are_refused_by_every_operation() {
    let (control, folder) = with_volume().await;
    std::fs::write(control.folder.path().join("secret"), "SECRET").unwrap();
    symlink("..", folder.join("up")).unwrap();
    symlink("../secret", folder.join("link")).unwrap();
    for path in [
        "/../secret",
        "/%252e%252e/secret",
        "/up/secret",
        "/link",
        "secret",
        "/a%252F..%252Fsecret",
        "/%2500",
        "",
    ] {
        let text = percent_decode(path);
        let requests = [
            control.as_admin(Method::GET, &volume(&format!("/content?path={path}"))),
            control
                .as_admin(Method::PUT, &volume(&format!("/content?path={path}")))
                .body("x"),
            control.as_admin(Method::GET, &volume(&format!("/archive?path={path}"))),
            control
                .as_admin(Method::POST, &volume("/folders"))
                .json(&json!({"path": text})),
            control
                .as_admin(Method::POST, &volume("/moves"))
                .json(&json!({"from": text, "to": "/mine/x"})),
            control
                .as_admin(Method::POST, &volume("/uploads"))
                .json(&json!({"path": text, "kind": "file", "size": 1, "name": "x", "replace": false})),
        ];
        for request in requests {
            let (status, body) = answer(request).await;
            assert!(status.is_client_error(), "{path}: {status} {body}");
            assert!(!body.to_string().contains("SECRET"), "{path}: {body}");
        }
    }
    assert_eq!(std::fs::read(control.folder.path().join("secret")).unwrap(), b"SECRET");
}

fn percent_decode(path: &str) -> String {
    path.replace("%25", "%")
}

#[tokio::test]
async fn a_folder_comes_as_one_archive() {
    let (control, folder) = with_volume().await;
    std::fs::create_dir(folder.join("photos")).unwrap();
    for number in 0..300 {
        std::fs::write(folder.join(format!("photos/{number}")), vec![7; 5000]).unwrap();
    }
    for (format, media_type) in [
        ("tar", "application/x-tar"),
        ("tar.gz", "application/gzip"),
        ("zip", "application/zip"),
    ] {
        let path = volume(&format!("/archive?path=/photos&format={format}"));
        let response = control.as_admin(Method::GET, &path).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], media_type);
        let named = response.headers()["content-disposition"].to_str().unwrap().to_owned();
        assert!(named.contains(&format!("photos.{format}")), "{named}");
        let bytes = response.bytes().await.unwrap();
        let mut plain = bytes.to_vec();
        if format == "tar.gz" {
            plain.clear();
            flate2::read::GzDecoder::new(&bytes[..])
                .read_to_end(&mut plain)
                .unwrap();
        }
        if format == "zip" {
            assert!(plain.starts_with(b"PK\x03\x04"));
        } else {
            assert!(
                plain.len() > 300 * 5000 && plain.ends_with(&[0; 1024]),
                "{format} is whole"
            );
        }
    }
    let (status, body) = control
        .call(Method::GET, &volume("/archive?path=/photos/1"), None)
        .await;
    assert_eq!(
        (status, &body["type"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("not-a-folder"))
    );
}

#[tokio::test]
async fn an_upload_into_a_volume_goes_on_where_it_broke_off() {
    let (control, folder) = with_volume().await;
    let request = json!({"path": "/big", "kind": "file", "size": 10, "name": "big", "replace": false});
    let (status, upload) = control
        .call(Method::POST, &volume("/uploads"), Some(request.clone()))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{upload}");
    let path = volume(&format!("/uploads/{}", upload["id"].as_str().unwrap()));
    let (status, _, body) = append(&control, &path, 0, b"01234".to_vec()).await;
    assert_eq!((status, &body["received"]), (StatusCode::OK, &json!(5)), "{body}");
    assert!(!folder.join("big").exists(), "it is visible only when it is whole");
    let (status, there, body) = append(&control, &path, 3, b"x".to_vec()).await;
    assert_eq!(
        (status, there, &body["type"]),
        (StatusCode::CONFLICT, Some(5), &json!("upload-offset"))
    );
    let (status, _, _) = append(&control, &path, 5, b"567890".to_vec()).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);

    // How much is there is known by the file alone.
    assert_eq!(control.call(Method::GET, &path, None).await.1["received"], 5);
    let (status, _, body) = append(&control, &path, 5, b"56789".to_vec()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(std::fs::read(folder.join("big")).unwrap(), b"0123456789");
    // The answer may have been lost: asking again says that all is there.
    assert_eq!(control.call(Method::GET, &path, None).await.1["received"], 10);
    let (status, body) = control.call(Method::POST, &volume("/uploads"), Some(request)).await;
    assert_eq!((status, &body["type"]), (StatusCode::CONFLICT, &json!("file-exists")));
    let empty = json!({"path": "/empty", "kind": "file", "size": 0, "name": "empty", "replace": false});
    assert_eq!(
        control.call(Method::POST, &volume("/uploads"), Some(empty)).await.0,
        StatusCode::CREATED
    );
    assert_eq!(std::fs::read(folder.join("empty")).unwrap(), b"");
}

#[tokio::test]
async fn uploads_of_an_environment_are_few_and_nobody_elses() {
    let (control, _) = with_volume().await;
    control.project("other").await;
    let uploads = format!("{AT}/uploads");
    let begin = json!({"size": 5, "name": "shop"});
    let (_, first) = control.call(Method::POST, &uploads, Some(begin.clone())).await;
    let id = first["id"].as_str().unwrap().to_owned();
    for _ in 1..8 {
        assert_eq!(
            control.call(Method::POST, &uploads, Some(begin.clone())).await.0,
            StatusCode::CREATED
        );
    }
    let (status, body) = control.call(Method::POST, &uploads, Some(begin.clone())).await;
    assert_eq!(
        (status, &body["type"]),
        (StatusCode::TOO_MANY_REQUESTS, &json!("too-many-uploads"))
    );
    let elsewhere = format!("/v1/projects/other/environments/production/uploads/{id}");
    assert_eq!(
        control.call(Method::GET, &elsewhere, None).await.0,
        StatusCode::NOT_FOUND
    );
    // A source is no upload of a volume.
    assert_eq!(
        control
            .call(Method::GET, &volume(&format!("/uploads/{id}")), None)
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    for strange in ["upl_..", "..%2F..%2Fweir", "upl_%2e%2e"] {
        assert_eq!(
            control.call(Method::GET, &format!("{uploads}/{strange}"), None).await.0,
            StatusCode::NOT_FOUND
        );
    }
    let deploy = format!("{uploads}/{id}/deployment");
    let (status, body) = control.call(Method::POST, &deploy, Some(json!({}))).await;
    assert_eq!(
        (status, &body["type"]),
        (StatusCode::CONFLICT, &json!("upload-incomplete"))
    );
    let wrong = json!({"toml": "nonsense = 1\n"});
    let (status, body) = control.call(Method::POST, &deploy, Some(wrong)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body["detail"].as_str().unwrap().contains("nonsense"), "{body}");
    assert_eq!(
        control.call(Method::DELETE, &format!("{uploads}/{id}"), None).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        control.call(Method::POST, &uploads, Some(begin)).await.0,
        StatusCode::CREATED
    );
    let huge = json!({"size": 3_u64 << 30, "name": "shop"});
    assert_eq!(
        control.call(Method::POST, &uploads, Some(huge)).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn an_upload_that_is_whole_is_built() {
    let (control, _) = with_volume().await;
    let (_, upload) = control
        .call(
            Method::POST,
            &format!("{AT}/uploads"),
            Some(json!({"size": 9, "name": "shop"})),
        )
        .await;
    let path = format!("{AT}/uploads/{}", upload["id"].as_str().unwrap());
    let (status, _, _) = append(&control, &path, 0, b"no source".to_vec()).await;
    assert_eq!(status, StatusCode::OK);
    let (status, body) = control
        .call(
            Method::POST,
            &format!("{path}/deployment"),
            Some(json!({"message": "mine"})),
        )
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let task = format!("/v1/tasks/{}", body["task"].as_str().unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let (_, task) = control.call(Method::GET, &task, None).await;
            if task["state"] == "failed" {
                break task;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let ended = ended.await.unwrap();
    assert!(
        ended["error"].as_str().unwrap().contains("the archive cannot be read"),
        "{ended}"
    );
    assert!(ended["title"].as_str().unwrap().contains("mine"), "{ended}");
    // It is there still, to be deployed again.
    assert_eq!(control.call(Method::GET, &path, None).await.1["received"], 9);
}

#[tokio::test]
async fn a_tar_is_unpacked_and_links_in_it_are_named() {
    let (control, folder) = with_volume().await;
    let tar = tar_with_link();
    let request = json!({"path": "/in/here", "kind": "tree", "size": tar.len(), "name": "tree", "replace": false});
    let (_, upload) = control.call(Method::POST, &volume("/uploads"), Some(request)).await;
    let path = volume(&format!("/uploads/{}", upload["id"].as_str().unwrap()));
    let (status, _, body) = append(&control, &path, 0, tar).await;
    assert_eq!(
        (status, &body["left_out"]),
        (StatusCode::OK, &json!(["/evil"])),
        "{body}"
    );
    assert_eq!(std::fs::read(folder.join("in/here/file")).unwrap(), b"hello");
    assert!(!folder.join("in/here/evil").exists());
}

/// The beginning of an entry, written by hand.
fn tar_header(name: &str, size: usize, kind: u8, target: &str) -> Vec<u8> {
    let mut block = vec![0_u8; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000001");
    block[148..156].copy_from_slice(b"        ");
    block[156] = kind;
    block[157..157 + target.len()].copy_from_slice(target.as_bytes());
    block[257..263].copy_from_slice(b"ustar\0");
    block[263..265].copy_from_slice(b"00");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// A file and a link.
fn tar_with_link() -> Vec<u8> {
    let mut tar = tar_header("file", 5, b'0', "");
    tar.extend_from_slice(b"hello");
    tar.resize(1024, 0);
    tar.extend(tar_header("evil", 0, b'2', "/etc/passwd"));
    tar.resize(tar.len() + 1024, 0);
    tar
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "{what} did not happen");
}

/// What control keeps of an upload: what is written down of it, and what is there.
fn kept(control: &Control, id: &str) -> (PathBuf, PathBuf) {
    let uploads = control.folder.path().join("uploads");
    let folder = std::fs::read_dir(uploads).unwrap().next().unwrap().unwrap().path();
    (folder.join(format!("{id}.json")), folder.join(format!("{id}.part")))
}

/// An upload of a tar as it is when control was killed while it unpacked. Its path in the API.
async fn broken_off(control: &Control, folder: &Path, name: &str) -> (String, PathBuf) {
    let tar = tar_with_link();
    let request =
        json!({"path": format!("/{name}"), "kind": "tree", "size": tar.len(), "name": "tree", "replace": false});
    let (_, upload) = control.call(Method::POST, &volume("/uploads"), Some(request)).await;
    let id = upload["id"].as_str().unwrap();
    let path = volume(&format!("/uploads/{id}"));
    append(control, &path, 0, tar[..tar.len() - 1].to_vec()).await;
    let (record, part) = kept(control, id);
    std::fs::write(part, &tar).unwrap();
    let mut written: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    written["begun"] = json!(true);
    std::fs::write(&record, written.to_string()).unwrap();
    std::fs::create_dir(folder.join(name)).unwrap();
    let torn = std::fs::File::create(folder.join(name).join("file")).unwrap();
    torn.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    (path, record)
}

#[tokio::test]
async fn a_tree_that_broke_off_goes_on_to_its_end() {
    let (control, folder) = with_volume().await;
    let (path, _) = broken_off(&control, &folder, "asked").await;
    for _ in 0..2 {
        let (status, body) = control.call(Method::GET, &path, None).await;
        assert_eq!(
            (status, &body["left_out"]),
            (StatusCode::OK, &json!(["/evil"])),
            "{body}"
        );
    }
    assert_eq!(std::fs::read(folder.join("asked/file")).unwrap(), b"hello");

    // Nobody asks: control goes on by itself when it is started.
    let (_, record) = broken_off(&control, &folder, "left").await;
    let going_on = tokio::spawn(weir_control::volumes::go_on(control.context.clone()));
    let text = || std::fs::read_to_string(&record).unwrap_or_default();
    until("the end of the upload", || text().contains(r#""done":["/evil"]"#)).await;
    assert_eq!(std::fs::read(folder.join("left/file")).unwrap(), b"hello");
    control.context.stop.cancel();
    going_on.await.unwrap();
}

#[tokio::test]
async fn an_upload_that_failed_is_tried_again_by_who_asks_only() {
    let (control, folder) = with_volume().await;
    std::fs::create_dir(folder.join("new")).unwrap();
    let begin = json!({"path": "/new/file", "kind": "file", "size": 5, "name": "file", "replace": true});
    let (_, upload) = control.call(Method::POST, &volume("/uploads"), Some(begin)).await;
    let id = upload["id"].as_str().unwrap();
    let path = volume(&format!("/uploads/{id}"));
    // The folder that it was to go into is none any more.
    std::fs::remove_dir(folder.join("new")).unwrap();
    std::fs::write(folder.join("new"), "").unwrap();
    let (status, _, body) = append(&control, &path, 0, b"hello".to_vec()).await;
    assert!(status.is_client_error(), "{status} {body}");
    let (record, _) = kept(&control, id);
    assert!(
        std::fs::read_to_string(&record)
            .unwrap()
            .contains(r#""begun":true,"failed":true"#)
    );
    std::fs::remove_file(folder.join("new")).unwrap();
    std::fs::create_dir(folder.join("new")).unwrap();
    std::fs::write(folder.join("new/file"), "meanwhile").unwrap();

    // Control goes on with what broke off, which this did not.
    let (_, other) = broken_off(&control, &folder, "left").await;
    let going_on = tokio::spawn(weir_control::volumes::go_on(control.context.clone()));
    let text = || std::fs::read_to_string(&other).unwrap_or_default();
    until("the end of the other", || text().contains(r#""done":["/evil"]"#)).await;
    control.context.stop.cancel();
    going_on.await.unwrap();
    assert_eq!(std::fs::read(folder.join("new/file")).unwrap(), b"meanwhile");
    let (status, body) = control.call(Method::GET, &path, None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(std::fs::read(folder.join("new/file")).unwrap(), b"hello");
}

#[tokio::test]
async fn a_tree_is_unpacked_to_its_end_and_once_although_the_client_hangs_up() {
    const FILES: usize = 10_000;
    let (control, folder) = with_volume().await;
    let mut tar = Vec::new();
    for number in 0..FILES {
        tar.extend(tar_header(&format!("f{number}"), 1, b'0', ""));
        tar.resize(tar.len() + 512, b'x');
    }
    tar.resize(tar.len() + 1024, 0);
    let request = json!({"path": "/in", "kind": "tree", "size": tar.len(), "name": "tree", "replace": false});
    let (_, upload) = control.call(Method::POST, &volume("/uploads"), Some(request)).await;
    let id = upload["id"].as_str().unwrap();
    let path = volume(&format!("/uploads/{id}"));
    let request = control
        .as_admin(Method::PATCH, &path)
        .header("upload-offset", 0)
        .body(tar);
    let sending = tokio::spawn(request.send());
    let first = folder.join("in/f0");
    until("the first file", || first.exists()).await;
    sending.abort();
    let (record, _) = kept(&control, id);
    let text = || std::fs::read_to_string(&record).unwrap_or_default();
    until("the end of the upload", || text().contains(r#""done":[]"#)).await;
    assert_eq!(std::fs::read_dir(folder.join("in")).unwrap().count(), FILES);
    let made = std::fs::metadata(&first).unwrap().ino();
    let (status, body) = control.call(Method::GET, &path, None).await;
    assert_eq!((status, &body["received"]), (StatusCode::OK, &body["size"]), "{body}");
    assert_eq!(std::fs::metadata(&first).unwrap().ino(), made, "it was unpacked again");
}

#[tokio::test]
async fn uploads_that_rest_make_room_but_for_those_that_are_written() {
    let (control, _) = with_volume().await;
    let uploads = format!("{AT}/uploads");
    let begin = async || {
        let begin = json!({"size": 5, "name": "shop"});
        control.call(Method::POST, &uploads, Some(begin)).await
    };
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(begin().await.1["id"].as_str().unwrap().to_owned());
    }
    let is_there =
        async |id: &String| control.call(Method::GET, &format!("{uploads}/{id}"), None).await.0 == StatusCode::OK;
    let rest = |id: &str, minutes: u64| {
        let (record, part) = kept(&control, id);
        for path in [record, part] {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(minutes * 60))
                .unwrap();
        }
    };
    rest(&ids[3], 9);
    assert_eq!(
        begin().await.0,
        StatusCode::TOO_MANY_REQUESTS,
        "nine minutes are no rest"
    );
    rest(&ids[3], 11);
    let written = std::fs::File::open(kept(&control, &ids[3]).1).unwrap();
    written.lock().unwrap();
    assert_eq!(begin().await.0, StatusCode::TOO_MANY_REQUESTS, "somebody writes it");
    drop(written);
    assert_eq!(begin().await.0, StatusCode::CREATED);
    assert!(!is_there(&ids[3]).await && is_there(&ids[0]).await && is_there(&ids[7]).await);
    assert_eq!(begin().await.0, StatusCode::TOO_MANY_REQUESTS, "only one rested");
}

#[tokio::test]
async fn the_disk_is_looked_at_before_each_part() {
    let (mut control, _) = with_volume().await;
    let (_, upload) = control
        .call(
            Method::POST,
            &format!("{AT}/uploads"),
            Some(json!({"size": 5, "name": "shop"})),
        )
        .await;
    let path = format!("{AT}/uploads/{}", upload["id"].as_str().unwrap());
    assert_eq!(append(&control, &path, 0, b"01".to_vec()).await.0, StatusCode::OK);
    // Meanwhile others have filled it: there is less than is to stay free.
    control.restrict(|config| config.disk_reserve_bytes = u64::MAX).await;
    let (status, _, body) = append(&control, &path, 2, b"234".to_vec()).await;
    assert_eq!(
        (status, &body["type"]),
        (StatusCode::INSUFFICIENT_STORAGE, &json!("disk-full")),
        "{body}"
    );
    assert_eq!(control.call(Method::GET, &path, None).await.1["received"], 2);
    control.restrict(|config| config.disk_reserve_bytes = 0).await;
    assert_eq!(append(&control, &path, 2, b"234".to_vec()).await.0, StatusCode::OK);
}
