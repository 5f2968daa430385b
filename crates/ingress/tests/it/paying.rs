//! Requests and answers are paid before they go on, to the unit, or get a page.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use weir_ingress::{NodeConfig, Spending};
use weir_ledger::Sku;
use weir_ledger::protocol::DenialReason;
use weir_model::InstanceId;
use weir_model::route::{MeteredInstance, RouteState};

use crate::fund::*;
use crate::support::*;

pub(crate) const PLENTY: i64 = 1_000_000_000_000;

pub(crate) fn pays_from(fund: &Fund) -> impl FnOnce(&mut NodeConfig) + use<> {
    let wallets = fund.wallets.clone();
    move |config| {
        config.limits.money_timeout = Duration::from_secs(5);
        config.spending = Some(Spending {
            wallets,
            metered: watch::channel(Vec::new()).0,
            paying: watch::channel(BTreeSet::new()).1,
            sending: None,
            cpu: None,
        });
    }
}

async fn paying_node(fund: &Fund, app: &App) -> TestNode {
    let node = TestNode::start_with(pays_from(fund)).await;
    node.control.publish_and_wait(routes(&[app])).await;
    node
}

/// An app that answers in many parts of 1,000 bytes, as many as the path says.
pub(crate) async fn streaming_app() -> App {
    App::start(|request| async move {
        let parts: usize = request.uri().path().trim_start_matches('/').parse().unwrap();
        let frames = (0..parts).map(|_| Ok(Frame::data(vec![b'x'; 1_000].into())));
        Response::new(BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames))))
    })
    .await
}

/// All bytes that the node sends, until it closes or is silent for half a second.
async fn bytes_sent(node: &TestNode, path: &str) -> u64 {
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop.localhost\r\n\r\n");
    u64::try_from(raw(node.address, request.as_bytes()).await.len()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_every_byte_of_its_answer_are_paid() {
    let fund = Fund::of(PLENTY);
    let app = App::says("hello").await;
    let node = paying_node(&fund, &app).await;
    let sent = bytes_sent(&node, "/").await;
    eventually("paid", || fund.used(&Sku::EGRESS) == sent).await;
    assert_eq!(fund.used(&Sku::REQUESTS), 1);
    let paid = REQUEST_NANO + i64::try_from(sent).unwrap() + LINES_NANO;
    assert_eq!(fund.spent().to_nano_up().0, paid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_of_unknown_length_is_paid_to_the_byte_and_framing_is_free() {
    let fund = Fund::of(PLENTY);
    let app = streaming_app().await;
    let node = paying_node(&fund, &app).await;
    let answer = node.get("/300").await;
    assert_eq!(answer.body.len(), 300_000);
    let fields: usize = answer
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    // The node adds this one itself.
    let framing = "transfer-encoding: chunked\r\n".len();
    let head = "HTTP/1.1 200 OK\r\n\r\n".len() + fields - framing;
    let owed = u64::try_from(head + 300_000).unwrap();
    eventually("paid", || fund.used(&Sku::EGRESS) == owed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_money_a_page_says_whose_cap_it_is_and_the_app_sleeps_on() {
    let fund = Fund::of(REQUEST_NANO - 1);
    let app = App::says("hello").await;
    let node = paying_node(&fund, &app).await;
    let answer = node.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (402, Some("unpaid")));
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert!(answer.headers.contains_key("retry-after"));
    for part in ["the project shop", "data is safe", "weir cap set shop"] {
        assert!(answer.text().contains(part), "{part}: {}", answer.text());
    }
    let page = node.send(Request::get("/").header("accept", "text/html")).await;
    assert_eq!(page.status, 402);
    assert!(page.text().contains("weir cap set shop"), "{}", page.text());
    assert_eq!((app.requests(), app.connections()), (0, 0));
    assert_eq!((fund.used(&Sku::REQUESTS), fund.used(&Sku::EGRESS)), (0, 0));
    assert!(fund.spent().to_nano_up().0 <= LINES_NANO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raised_cap_lets_requests_in_again() {
    let fund = Fund::of(0);
    let app = App::says("hello").await;
    let node = paying_node(&fund, &app).await;
    assert_eq!(node.get("/").await.status, 402);
    fund.raise(PLENTY);
    within(3, "served after the raise", async {
        while node.get("/").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_has_its_own_page() {
    for (reason, status, name, says) in [
        (DenialReason::EnvironmentCap, 402, "unpaid", "cap of shop is reached"),
        (DenialReason::AccountCap, 402, "unpaid", "weir cap set account:default"),
        (DenialReason::Balance, 402, "unpaid", "balance"),
        (DenialReason::Gone, 402, "unpaid", "deleted"),
        (DenialReason::Pace, 429, "pace", "--no-pace"),
    ] {
        let fund = Fund::of(0);
        fund.refuse_with(reason);
        let app = App::says("hello").await;
        let node = paying_node(&fund, &app).await;
        let answer = node.get("/").await;
        let shown = (answer.status.as_u16(), answer.weir());
        assert_eq!(shown, (status, Some(name)), "{reason:?}: {}", answer.text());
        assert!(answer.text().contains(says), "{reason:?}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_serves_what_it_holds_and_then_says_so() {
    let fund = Fund::of(5 * (REQUEST_NANO + 500));
    let app = App::says("hello").await;
    let node = TestNode::start_with(|config| {
        pays_from(&fund)(config);
        config.limits.money_timeout = Duration::from_secs(1);
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    eventually("the ledger has answered once", || fund.draw_bytes(1).is_ok()).await;
    assert_eq!(node.get("/").await.status, 200);
    fund.hear(false);
    let mut served = 1;
    let last = loop {
        let answer = node.get("/").await;
        if answer.status != 200 {
            break answer;
        }
        served += 1;
        assert!(served < 10, "more than there is money for");
    };
    assert_eq!(
        (last.status.as_u16(), last.weir()),
        (503, Some("cut-off")),
        "{}",
        last.text()
    );
    assert!(last.headers.contains_key("retry-after"));
    // One may have been paid for, and its answer not.
    assert!([served, served + 1].contains(&app.requests()));
    fund.raise(PLENTY);
    fund.hear(true);
    within(5, "served again", async { while node.get("/").await.status != 200 {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_a_ledger_that_is_late() {
    let fund = Fund::of(PLENTY);
    fund.hear(false);
    let app = App::says("hello").await;
    let node = TestNode::start_with(|config| {
        pays_from(&fund)(config);
        config.limits.money_timeout = Duration::from_secs(20);
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let request = node.get("/");
    let answers = async {
        eventually("it waits", || {
            node.control.last_report().is_some_and(|report| report.waiting == 1)
        })
        .await;
        assert_eq!(app.requests(), 0);
        fund.hear(true);
    };
    let (answer, ()) = within(15, "the answer", async { tokio::join!(request, answers) }).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_use_the_last_unit_and_not_one_more() {
    let plenty = Fund::of(PLENTY);
    let app = App::says("0123456789").await;
    let cost = {
        let node = paying_node(&plenty, &app).await;
        i64::try_from(bytes_sent(&node, "/").await).unwrap() + REQUEST_NANO + LINES_NANO
    };
    let exact = Fund::of(cost);
    let node = paying_node(&exact, &app).await;
    let answer = node.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "0123456789"));
    eventually("all is spent", || exact.spent().to_nano_up().0 == cost).await;
    assert_eq!(node.get("/").await.status, 402);

    let short = Fund::of(cost - 1);
    let node = paying_node(&short, &app).await;
    let mut client = Client::connect(node.address).await;
    let broken = client.try_send(Request::get("/").body(empty()).unwrap()).await;
    assert!(broken.is_err(), "{broken:?}");
    assert!(short.spent().to_nano_up().0 < cost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_breaks_off_visibly_when_the_money_ends() {
    let limit = 2_000_000;
    let fund = Fund::of(limit);
    let app = streaming_app().await;
    let node = paying_node(&fund, &app).await;
    let mut client = Client::connect(node.address).await;
    let answer = client
        .begin(Request::get("/100000").body(empty()).unwrap())
        .await
        .unwrap();
    let mut body = answer.into_body();
    let mut received = 0;
    let broken = within(20, "the end", async {
        loop {
            match body.frame().await {
                Some(Ok(frame)) => received += frame.data_ref().map_or(0, |data| i64::try_from(data.len()).unwrap()),
                Some(Err(error)) => return Some(error),
                None => return None,
            }
        }
    })
    .await;
    assert!(broken.is_some(), "an answer that is cut must not look whole");
    assert!(received < limit && received > limit - 100_000, "{received}");
    assert!(fund.spent().to_nano_up().0 <= limit);
    let used = i64::try_from(fund.used(&Sku::EGRESS)).unwrap();
    assert!(used >= received && used < limit, "{used}");
    eventually("the app's place is free", || {
        node.control.load(app.backend.instance).in_flight == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_did_not_take_goes_back() {
    let limit = 300_000;
    let fund = Fund::of(limit);
    let app = App::start(|_| async move {
        let first = futures_util::stream::iter([Ok(Frame::data("x".into()))]);
        let silence = futures_util::stream::pending();
        Response::new(BodyExt::boxed(StreamBody::new(futures_util::StreamExt::chain(
            first, silence,
        ))))
    })
    .await;
    let node = paying_node(&fund, &app).await;
    let mut client = Client::connect(node.address).await;
    let mut answer = client.begin(Request::get("/").body(empty()).unwrap()).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    drop((answer, client));
    eventually("counted", || fund.used(&Sku::EGRESS) > 0).await;
    // All but a few nano for a till of its own; a block for the answer was 4,096 bytes.
    let rest = limit - fund.spent().to_nano_up().0 - 10;
    eventually("the rest can be drawn by others", || {
        fund.draw_bytes(u64::try_from(rest).unwrap()).is_ok_and(|draw| {
            draw.finish(0);
            true
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_twice_is_paid_once_and_pages_are_free() {
    let fund = Fund::of(PLENTY);
    // Each connection answers one request and breaks at the next.
    let app = App::start_raw(|mut stream| async move {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        let _ = stream.read(&mut buffer).await;
    })
    .await;
    let node = paying_node(&fund, &app).await;
    for _ in 0..3 {
        assert_eq!(node.get("/").await.status, 200);
    }
    assert!(node.counters().retries > 0, "nothing was sent again");
    assert_eq!(fund.used(&Sku::REQUESTS), 3);
    let paid = fund.used(&Sku::EGRESS);
    node.control.publish_and_wait(in_state(RouteState::Paused)).await;
    assert_eq!(node.get("/").await.status, 503);
    assert_eq!((fund.used(&Sku::REQUESTS), fund.used(&Sku::EGRESS)), (3, paid));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_pays_for_what_it_sends_and_closes_without_money() {
    let fund = Fund::of(20_000);
    let app = App::start(|mut request| async move {
        tokio::spawn(async move {
            let mut upgraded = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
            while upgraded.write_all(&[b'x'; 1_000]).await.is_ok() {}
        });
        let answer = Response::builder().status(101).header("connection", "upgrade");
        answer.header("upgrade", "websocket").body(empty()).unwrap()
    })
    .await;
    let node = paying_node(&fund, &app).await;
    let mut client = Client::connect(node.address).await;
    let request = Request::get("/")
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    let answer = client.begin(request.body(empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 101);
    let mut socket = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    let mut received = Vec::new();
    let _ = within(20, "it is closed", socket.read_to_end(&mut received)).await;
    assert!(received.len() > 10_000 && received.len() < 20_000, "{}", received.len());
    assert!(fund.spent().to_nano_up().0 <= 20_000);
    assert!(fund.used(&Sku::EGRESS) >= u64::try_from(received.len()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_control_calls_unpaid_gets_its_page() {
    let node = TestNode::start().await;
    let message = "The spending cap of shop is reached.".to_owned();
    let state = RouteState::Unpaid {
        message,
        retry_after_s: 7,
    };
    node.control.publish_and_wait(in_state(state)).await;
    let answer = node.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (402, Some("unpaid")));
    assert_eq!(answer.headers["retry-after"], "7");
    assert!(
        answer.text().contains("The spending cap of shop is reached."),
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pays_for_instances_learns_of_them_and_is_reported() {
    let fund = Fund::of(PLENTY);
    let (metered, mut told) = watch::channel(Vec::new());
    let (pays, paying) = watch::channel(BTreeSet::new());
    let node = TestNode::start_with(|config| {
        let wallets = fund.wallets.clone();
        config.spending = Some(Spending {
            wallets,
            metered,
            paying,
            sending: None,
            cpu: None,
        });
    })
    .await;
    let app = App::says("hello").await;
    let instance = MeteredInstance {
        instance: app.backend.instance,
        environment: environment(),
        app: "app".parse().unwrap(),
        process: "web".parse().unwrap(),
        memory_bytes: 1 << 20,
        cpu_milli: 100,
        grace_s: 10,
        address: None,
        frozen: false,
        stopping: false,
    };
    let mut snapshot = routes(&[&app]);
    snapshot.metered = vec![instance.clone()];
    node.control.publish_and_wait(snapshot).await;
    assert_eq!(*told.wait_for(|told| !told.is_empty()).await.unwrap(), [instance]);
    pays.send_replace(BTreeSet::from([app.backend.instance]));
    let reported = |report: weir_model::route::NodeReport| -> BTreeSet<InstanceId> { report.paying };
    eventually("it is in the report", || {
        node.control.last_report().map(reported) == Some(BTreeSet::from([app.backend.instance]))
    })
    .await;
}
