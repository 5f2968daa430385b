//! Commands with a terminal, over WebSockets.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use weir_control::metrics::history::Recorder;
use weir_engine::sim::Behaviour;
use weir_engine::{Engine, InstanceRole};

use crate::harness::{Control, image};

const PRODUCTION: &str = "/v1/projects/shop/environments/production";
const PATIENCE: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(control: &Control, path: &str) -> Socket {
    let mut request = format!("{}{path}", control.address.replacen("http", "ws", 1))
        .into_client_request()
        .unwrap();
    request
        .headers_mut()
        .insert("authorization", format!("Bearer {}", control.admin).parse().unwrap());
    tokio_tungstenite::connect_async(request).await.unwrap().0
}

/// Reads to the end; gives standard output, standard error and the last words.
async fn read(socket: &mut Socket) -> (String, String, String) {
    let (mut out, mut err, mut last) = (String::new(), String::new(), String::new());
    let reading = async {
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Binary(bytes) if bytes[0] == 1 => out.push_str(std::str::from_utf8(&bytes[1..]).unwrap()),
                Message::Binary(bytes) => err.push_str(std::str::from_utf8(&bytes[1..]).unwrap()),
                Message::Text(text) => last = text.to_string(),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the session did not end");
    (out, err, last)
}

async fn until(mut done: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it did not happen in time");
}

async fn one_off_containers(control: &Control) -> usize {
    let observed = control.engine.observe(None).await.unwrap();
    observed
        .iter()
        .filter(|instance| instance.labels.role == InstanceRole::Run)
        .count()
}

#[tokio::test]
async fn a_one_off_command_runs_and_leaves_nothing() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let (status, body) = control
        .call(Method::GET, &format!("{PRODUCTION}/run?command=ls"), None)
        .await;
    assert_eq!(
        (status, body["type"].as_str()),
        (StatusCode::UPGRADE_REQUIRED, Some("websocket-needed"))
    );
    control.live(&shop).await;
    control
        .engine
        .behaviour_of(&image(), InstanceRole::Run, Behaviour::ends(50, 3));
    let mut socket = open(
        &control,
        &format!("{PRODUCTION}/run?command=exit%203&terminal=true&columns=80&rows=24"),
    )
    .await;
    let (_, _, last) = read(&mut socket).await;
    assert_eq!(last, r#"{"type":"exit","status":3}"#);
    until(async || one_off_containers(&control).await == 0).await;
}

#[tokio::test]
async fn what_a_one_off_command_uses_is_in_the_charts_and_it_is_no_instance() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    control.engine.behaviour(&image(), Behaviour::default());
    control
        .engine
        .behaviour_of(&image(), InstanceRole::Run, Behaviour::default());
    let reconciler = tokio::spawn(weir_control::reconcile::run(control.context.clone()));
    let _socket = open(&control, &format!("{PRODUCTION}/run?command=sleep%201000")).await;
    let mut recorder = Recorder::new(control.context.clone());
    let began = std::time::Instant::now();
    let mut charts = serde_json::Value::Null;
    until(async || {
        recorder.look(began.elapsed()).await.unwrap();
        let path = format!("{PRODUCTION}/metrics?by=process&series=memory,instances&from=1m");
        charts = control.call(Method::GET, &path, None).await.1;
        let series = charts["series"].as_array().unwrap().iter();
        let mut memory = series.filter(|one| one["process"] == "run" && one["name"] == "memory");
        memory.any(|one| {
            let values = one["values"].as_array().unwrap();
            values
                .iter()
                .any(|value| value.as_f64().is_some_and(|bytes| bytes > 0.0))
        })
    })
    .await;
    let series = charts["series"].as_array().unwrap().iter();
    let mut ready = series.filter(|one| one["process"] == "run" && one["name"] == "instances");
    let values = ready.next().unwrap()["values"].as_array().unwrap();
    assert!(
        values.iter().all(|value| value.as_f64().unwrap_or(0.0) == 0.0),
        "{values:?}"
    );
    let (_, status) = control.call(Method::GET, PRODUCTION, None).await;
    assert!(!status["processes"].to_string().contains("\"run\""), "{status}");
    control.context.stop.cancel();
    reconciler.await.unwrap();
}

#[tokio::test]
async fn a_client_that_vanishes_takes_its_container_with_it() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    control
        .engine
        .behaviour_of(&image(), InstanceRole::Run, Behaviour::default());
    let socket = open(&control, &format!("{PRODUCTION}/run?command=sleep%201000")).await;
    until(async || one_off_containers(&control).await == 1).await;
    drop(socket);
    until(async || one_off_containers(&control).await == 0).await;
}

#[tokio::test]
async fn a_command_in_an_instance_reads_and_writes() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    control.engine.behaviour(&image(), Behaviour::default());
    let reconciler = tokio::spawn(weir_control::reconcile::run(control.context.clone()));
    until(async || {
        let (_, status) = control.call(Method::GET, PRODUCTION, None).await;
        status["processes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|process| process["process"] == "web" && process["instances"][0].is_object())
    })
    .await;
    let mut socket = open(&control, &format!("{PRODUCTION}/exec?command=cat")).await;
    socket.send(Message::Binary("hello".into())).await.unwrap();
    socket
        .send(Message::Text(r#"{"type":"resize","columns":10,"rows":10}"#.into()))
        .await
        .unwrap();
    socket.send(Message::Text(r#"{"type":"eof"}"#.into())).await.unwrap();
    let (out, _, last) = read(&mut socket).await;
    assert_eq!(
        (out.as_str(), last.as_str()),
        ("hello", r#"{"type":"exit","status":0}"#)
    );
    control.context.stop.cancel();
    reconciler.await.unwrap();
}
