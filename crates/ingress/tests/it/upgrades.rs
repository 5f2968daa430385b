//! Websockets and their like.

use http::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

/// Repeats in capitals what comes over the upgraded connection.
pub(crate) async fn shouting_app() -> App {
    App::start(|mut request| async move {
        let Some(protocol) = request.headers().get("upgrade").cloned() else {
            return Response::new(full("plain"));
        };
        tokio::spawn(async move {
            let Ok(upgraded) = hyper::upgrade::on(&mut request).await else {
                return;
            };
            let mut upgraded = TokioIo::new(upgraded);
            let mut buffer = [0; 64];
            while let Ok(length @ 1..) = upgraded.read(&mut buffer).await {
                buffer[..length].make_ascii_uppercase();
                if upgraded.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        });
        Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", protocol)
            .body(empty())
            .unwrap()
    })
    .await
}

async fn upgrade(node: &TestNode) -> TokioIo<hyper::upgrade::Upgraded> {
    upgrade_over(Client::connect(node.address).await).await
}

pub(crate) async fn upgrade_over(mut client: Client) -> TokioIo<hyper::upgrade::Upgraded> {
    let request = Request::get("/")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket");
    let answer = client.begin(request.body(empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.headers()["upgrade"], "websocket");
    TokioIo::new(hyper::upgrade::on(answer).await.unwrap())
}

pub(crate) async fn echo(socket: &mut TokioIo<hyper::upgrade::Upgraded>) {
    socket.write_all(b"hello").await.unwrap();
    let mut buffer = [0; 5];
    within(5, "the echo", socket.read_exact(&mut buffer)).await.unwrap();
    assert_eq!(&buffer, b"HELLO");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_carries_bytes_both_ways_and_is_counted() {
    let node = TestNode::start().await;
    let app = shouting_app().await;
    node.control
        .publish_and_wait(with_route(routes(&[&app]), |route| route.concurrency = 1))
        .await;
    let mut socket = upgrade(&node).await;
    echo(&mut socket).await;
    let instance = app.backend.instance;
    eventually("counted", || {
        let load = node.control.load(instance);
        (load.upgraded, load.in_flight) == (1, 0)
    })
    .await;
    // It does not take the place of requests.
    assert_eq!(node.get("/").await.text(), "plain");
    drop(socket);
    eventually("counted out", || node.control.load(instance).upgraded == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_outlives_the_switch_and_is_cut_when_its_instance_goes() {
    let node = TestNode::start().await;
    let (old, new) = (shouting_app().await, App::says("new").await);
    node.control.publish_and_wait(routes(&[&old])).await;
    let mut socket = upgrade(&node).await;
    node.control
        .publish_and_wait(with_draining(routes(&[&new]), &[&old]))
        .await;
    echo(&mut socket).await;
    assert_eq!(node.control.load(old.backend.instance).upgraded, 1);
    node.control.publish_and_wait(routes(&[&new])).await;
    let mut buffer = [0; 1];
    let read = within(5, "the cut", socket.read(&mut buffer)).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    eventually("counted out", || node.control.load(old.backend.instance).upgraded == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_last_upgraded_connection_of_a_draining_instance_is_reported_at_once() {
    let node = TestNode::start().await;
    let (old, new) = (shouting_app().await, App::says("new").await);
    node.control.publish_and_wait(routes(&[&old])).await;
    let socket = upgrade(&node).await;
    node.control
        .publish_and_wait(with_draining(routes(&[&new]), &[&old]))
        .await;
    let start = std::time::Instant::now();
    drop(socket);
    eventually("reported", || node.control.load(old.backend.instance).upgraded == 0).await;
    assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_to_http2_is_ignored_and_a_refused_one_is_a_plain_answer() {
    let node = TestNode::start().await;
    let app = shouting_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let request = Request::get("/")
        .header("connection", "upgrade, http2-settings")
        .header("upgrade", "h2c");
    let answer = node.send(request.header("http2-settings", "AAMAAABkAAQAAP__")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "plain"));
    let refusing = App::says("no websockets here").await;
    node.control.publish_and_wait(routes(&[&refusing])).await;
    let answer = node
        .send(
            Request::get("/")
                .header("connection", "upgrade")
                .header("upgrade", "websocket"),
        )
        .await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "no websockets here"));
}
