//! Control as a whole: it becomes ready when a node reports, and stops in order.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use weir_control::clock::SystemClock;
use weir_control::serve::{Listeners, open, run};

use crate::harness::config;

#[tokio::test]
async fn control_is_ready_once_a_node_reports_and_stops_with_watchers_connected() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path().to_owned());
    config.control = "127.0.0.1:0".parse().unwrap();
    std::fs::create_dir_all(folder.path().join("run")).unwrap();
    let listeners = Listeners::bind(&mut config).await.unwrap();
    let (address, socket) = (format!("http://{}", config.control), config.node_socket());
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let store = weir_store::Store::open(&config.database).await.unwrap();
    let engine = weir_engine::sim::SimEngine::new(1);
    engine.follow_tokio();
    let stop = CancellationToken::new();
    let context = open(
        config,
        store,
        Arc::new(engine.clone()),
        Arc::new(engine),
        Arc::new(SystemClock),
        stop.clone(),
    )
    .await
    .unwrap();
    let control = tokio::spawn(run(context, listeners));

    let mut status = 0;
    for _ in 0..200 {
        report(&socket).await;
        let response = reqwest::get(format!("{address}/v1/health")).await.unwrap();
        status = response.status().as_u16();
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status, 200);

    let token = std::fs::read_to_string(folder.path().join("admin-token")).unwrap();
    let request = reqwest::Client::new()
        .get(format!("{address}/v1/events"))
        .bearer_auth(token.trim());
    let watching = request.send().await.unwrap();
    stop.cancel();
    let stopped = tokio::time::timeout(Duration::from_secs(9), control).await;
    stopped.expect("it did not stop in time").unwrap().unwrap();
    watching.text().await.unwrap();
    assert!(reqwest::get(format!("{address}/v1/health")).await.is_err());
}

async fn report(socket: &std::path::Path) {
    let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let body = r#"{"incarnation":1,"applied_generation":0,"load":{},"waiting":0}"#;
    let head = "POST /node/report HTTP/1.1\r\nhost: control\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
}
