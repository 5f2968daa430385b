//! A new release that gets a part of the visitors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::{Request, Response, StatusCode};
use weir_model::DeploymentId;
use weir_model::route::{Route, RouteCanary, RouteSnapshot};

use crate::support::*;

/// The route serves from `live`, and the canary gets this share of the visitors.
fn shared(live: &[&App], canary: &[&App], share: &str, header: Option<&str>) -> RouteSnapshot {
    with_route(routes(live), |route: &mut Route| {
        route.canary = Some(RouteCanary {
            deployment: DeploymentId::from_parts(1, 7),
            share: share.parse().unwrap(),
            header: header.map(|header| header.parse().unwrap()),
            pool: canary.iter().map(|app| app.backend.clone()).collect(),
            concurrency: 100,
            first_byte_timeout_ms: 10_000,
            class: None,
        });
    })
}

fn cookie_of(answer: &Answer) -> Option<String> {
    let cookie = answer.headers.get("set-cookie")?.to_str().unwrap();
    Some(cookie.split(';').next().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_are_divided_and_stay_where_they_are() {
    let node = TestNode::start().await;
    let (live, canary) = (App::says("live").await, App::says("canary").await);
    node.control
        .publish_and_wait(shared(&[&live], &[&canary], "25%", None))
        .await;
    let mut cookies = Vec::new();
    for _ in 0..400 {
        let answer = node.get("/").await;
        cookies.push((cookie_of(&answer).unwrap(), answer.text().to_owned()));
    }
    let taken = cookies.iter().filter(|(_, text)| text == "canary").count();
    // Five standard deviations around a hundred.
    assert!((56..=144).contains(&taken), "{taken} of 400 got the canary");
    for (cookie, text) in cookies.iter().take(60) {
        let again = node.send(Request::get("/").header("cookie", cookie)).await;
        assert_eq!(again.text(), text);
        assert_eq!(cookie_of(&again), None, "the cookie is set once");
    }
    // A greater share takes nobody away; all is all.
    node.control
        .publish_and_wait(shared(&[&live], &[&canary], "60%", None))
        .await;
    for (cookie, _) in cookies.iter().filter(|(_, text)| text == "canary").take(30) {
        let again = node.send(Request::get("/").header("cookie", cookie)).await;
        assert_eq!(again.text(), "canary");
    }
    // Without a canary nobody gets a cookie.
    node.control.publish_and_wait(routes(&[&live])).await;
    let after = node.send(Request::get("/").header("cookie", &cookies[0].0)).await;
    assert_eq!((after.text(), cookie_of(&after)), ("live", None));
    assert_eq!(cookie_of(&node.get("/").await), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_asks_for_the_canary_and_errors_are_counted_where_they_happen() {
    let node = TestNode::start().await;
    let live = App::says("live").await;
    let canary = App::start(|_| async {
        let mut answer = Response::new(full("broken"));
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
    .await;
    node.control
        .publish_and_wait(shared(&[&live], &[&canary], "0%", Some("X-Canary: yes")))
        .await;
    for _ in 0..5 {
        let plain = node.get("/").await;
        assert_eq!((plain.text(), cookie_of(&plain)), ("live", None));
        let asked = node.send(Request::get("/").header("x-canary", "yes")).await;
        assert_eq!((asked.status.as_u16(), asked.text()), (500, "broken"));
    }
    eventually("the errors are told", || {
        let of = |app: &App| node.control.load(app.backend.instance);
        let (live, canary) = (of(&live), of(&canary));
        (live.requests, live.failed, canary.requests, canary.failed) == (5, 0, 5, 5)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_a_canary_begins_grows_and_ends() {
    let node = TestNode::start().await;
    let slow = |name: &'static str| {
        App::start(move |_| async move {
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            Response::new(full(name))
        })
    };
    let (live, canary) = (slow("live").await, slow("canary").await);
    node.control.publish_and_wait(routes(&[&live])).await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let address = node.address;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.send(Request::get("/").body(empty()).unwrap()).await;
                    assert_eq!(answer.status, 200, "{:?}", answer.weir());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..6 {
        for share in ["5%", "50%"] {
            node.control
                .publish_and_wait(shared(&[&live], &[&canary], share, None))
                .await;
        }
        if round % 2 == 0 {
            // Given up: the canary drains.
            node.control
                .publish_and_wait(with_draining(routes(&[&live]), &[&canary]))
                .await;
        } else {
            // Promoted: the other one drains, and comes back by a rollback.
            node.control
                .publish_and_wait(with_draining(routes(&[&canary]), &[&live]))
                .await;
            node.control
                .publish_and_wait(with_draining(routes(&[&live]), &[&canary]))
                .await;
        }
        let before = answered.load(Ordering::Relaxed);
        eventually("requests go on", || answered.load(Ordering::Relaxed) > before + 20).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(canary.requests() > 0 && live.requests() > 0);
    eventually("nothing is left in flight", || {
        let of = |app: &App| node.control.load(app.backend.instance).in_flight;
        of(&live) + of(&canary) == 0
    })
    .await;
}
