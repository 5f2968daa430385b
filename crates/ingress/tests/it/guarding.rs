//! Apps that call themselves without end are refused; visitors are served meanwhile.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};

use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::net::TcpSocket;
use weir_model::guard::{GuardRule, GuardRules};
use weir_model::route::{MeteredInstance, RouteSnapshot};

use crate::fund::environment;
use crate::support::*;

/// The instance's address on its network; the loopback has many.
const INSTANCE: [u8; 4] = [127, 0, 0, 5];

/// A client that calls from the instance's address.
async fn from_instance(node: SocketAddr) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((INSTANCE, 0))).unwrap();
    Client::over(socket.connect(node).await.unwrap()).await
}

/// The app answers under `shop.localhost`, and its instance is known by its address.
fn guarded(app: &App, change: impl Fn(&mut GuardRules)) -> RouteSnapshot {
    let mut snapshot = with_route(routes(&[app]), |route| {
        route.target = "shop.web".to_owned();
        change(&mut route.guard);
    });
    snapshot.metered = vec![MeteredInstance {
        instance: app.backend.instance,
        environment: environment(),
        app: "shop".parse().unwrap(),
        process: "web".parse().unwrap(),
        memory_bytes: 1 << 20,
        cpu_milli: 100,
        grace_s: 10,
        address: Some(IpAddr::from(INSTANCE)),
        frozen: false,
        stopping: false,
    }];
    snapshot
}

/// An app that asks for two more pages for each one under `/crawl`, so many levels down, and waits
/// for both.
struct Crawler {
    app: App,
    node: Arc<OnceLock<SocketAddr>>,
    /// Answers that its own calls got, if they were not 200.
    refused: Arc<Mutex<Vec<Answer>>>,
}

impl Crawler {
    async fn start(levels: usize, lineage: Option<&'static str>) -> Self {
        let (node, refused) = (Arc::new(OnceLock::new()), Arc::new(Mutex::new(Vec::new())));
        let (address, seen) = (Arc::clone(&node), Arc::clone(&refused));
        let app = App::start(move |request| {
            let (address, seen) = (Arc::clone(&address), Arc::clone(&seen));
            async move {
                let path = request.uri().path().to_owned();
                if path.starts_with("/crawl") && path.split('/').count() < 2 + levels {
                    let node = *address.get().unwrap();
                    let calls = ["a", "b"].map(|branch| {
                        let (path, seen) = (format!("{path}/{branch}"), Arc::clone(&seen));
                        tokio::spawn(async move {
                            let mut call = Request::get(path);
                            if let Some(lineage) = lineage {
                                call = call.header("weir-lineage", lineage);
                            }
                            let mut client = from_instance(node).await;
                            let answer = client.send(call.body(empty()).unwrap()).await;
                            if answer.status != 200 {
                                seen.lock().unwrap().push(answer);
                            }
                        })
                    });
                    for call in calls {
                        call.await.unwrap();
                    }
                }
                Response::new(full("page"))
            }
        })
        .await;
        Self { app, node, refused }
    }

    async fn run_away(&self, node: &TestNode) {
        self.node.set(node.address).unwrap();
        let visitor = node.get("/crawl");
        let answer = within(60, "the crawl ends", visitor).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "page"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_calls_itself_is_refused_and_visitors_are_served() {
    let node = TestNode::start().await;
    let crawler = Crawler::start(1000, None).await;
    let snapshot = guarded(&crawler.app, |rules| {
        (rules.descendants, rules.depth, rules.reproduction) = (50, 1_000, false);
    });
    node.control.publish_and_wait(snapshot).await;
    let visitors = async {
        for _ in 0..50 {
            assert_eq!(node.get("/").await.status, 200);
        }
    };
    tokio::join!(crawler.run_away(&node), visitors);
    // The visitors', the one that began it, and its descendants: more than 50, because a call
    // with several requests in flight beside it is a part of each one's descendants.
    let served = crawler.app.requests();
    assert!((101..=500).contains(&served), "{served}");
    assert_eq!(node.get("/").await.status, 200);
    {
        let refused = crawler.refused.lock().unwrap();
        let answer = refused.first().unwrap();
        assert_eq!((answer.status.as_u16(), answer.weir()), (508, Some("runaway")));
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        for part in [
            "`descendants`",
            "50 are allowed",
            "visitors",
            "weir guard set shop --descendants 250",
        ] {
            assert!(answer.text().contains(part), "{part}: {}", answer.text());
        }
    }
    eventually("control is told", || {
        let report = node.control.last_report().unwrap();
        report
            .trips
            .iter()
            .any(|trip| trip.rule == GuardRule::Descendants && trip.refused && trip.limit == 50)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_only_watches_refuses_nothing_and_tells() {
    let node = TestNode::start().await;
    let crawler = Crawler::start(5, None).await;
    let snapshot = guarded(&crawler.app, |rules| {
        (rules.enabled, rules.descendants) = (false, 20);
    });
    node.control.publish_and_wait(snapshot).await;
    crawler.run_away(&node).await;
    eventually("control is told", || {
        let report = node.control.last_report().unwrap_or_default();
        report
            .trips
            .iter()
            .any(|trip| trip.rule == GuardRule::Descendants && !trip.refused)
    })
    .await;
    assert!(crawler.refused.lock().unwrap().is_empty());
    assert_eq!(crawler.app.requests(), 1 + 2 + 4 + 8 + 16 + 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lineage_cannot_be_made_up() {
    const FORGED: &str = "00000000000000000000000000000001;0;1000000;00000000000000000000000000000000";
    let node = TestNode::start().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let app = App::start(move |request| {
        let lineages: Vec<_> = request.headers().get_all("weir-lineage").iter().cloned().collect();
        noted.lock().unwrap().push(lineages);
        async move { Response::new(full("page")) }
    })
    .await;
    node.control.publish_and_wait(guarded(&app, |_| {})).await;
    let forged = || Request::get("/").header("weir-lineage", FORGED).body(empty()).unwrap();
    let mut visitor = Client::connect(node.address).await;
    assert_eq!(visitor.send(forged()).await.status, 200);
    assert_eq!(from_instance(node.address).await.send(forged()).await.status, 200);
    // From here on the app is known to call, and gets a lineage to pass on.
    assert_eq!(node.get("/").await.status, 200);
    {
        let seen = seen.lock().unwrap();
        assert_eq!((seen.len(), seen[2].len()), (3, 1));
        assert!(seen.iter().all(|lineages| lineages.len() <= 1), "{seen:?}");
        assert!(seen.iter().flatten().all(|lineage| lineage != FORGED), "{seen:?}");
    }
    // With the best lineage that it can think of, an app gets no further.
    let crawler = Crawler::start(1000, Some(FORGED)).await;
    let rules = guarded(&crawler.app, |rules| (rules.descendants, rules.depth) = (50, 1_000));
    node.control.publish_and_wait(rules).await;
    crawler.run_away(&node).await;
    assert!(crawler.app.requests() <= 60, "{}", crawler.app.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_calls_come_through_whole_though_their_beginning_is_looked_at() {
    let node = TestNode::start().await;
    let app = App::start(|request| async move {
        let length = request.headers().get("content-length").cloned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut answer = Response::new(full(body));
        if let Some(length) = length {
            answer.headers_mut().insert("x-length", length);
        }
        answer
    })
    .await;
    node.control.publish_and_wait(guarded(&app, |_| {})).await;
    let mut client = from_instance(node.address).await;
    for size in [0, 1, 5_000, 3_000_000] {
        let body = vec![b'y'; size];
        let answer = client.send(Request::post("/").body(full(body.clone())).unwrap()).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "{size}");
    }
    let parts = ["one ", "two ", "three"].map(|part| Ok(Frame::data(part.into())));
    let chunked = BodyExt::boxed(StreamBody::new(futures_util::stream::iter(parts)));
    let answer = client.send(Request::post("/").body(chunked).unwrap()).await;
    assert_eq!(answer.text(), "one two three");
    assert!(!answer.headers.contains_key("x-length"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_round_again_and_again_is_ended() {
    let node = TestNode::start().await;
    let app = App::start(|request| async move {
        let marks: Vec<_> = request.headers().get_all("cdn-loop").iter().cloned().collect();
        Response::new(full(format!("{marks:?}")))
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let answer = node.send(Request::get("/").header("cdn-loop", "other.example")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (200, r#"["other.example", "weir"]"#)
    );
    let sixteen = ["weir"; 16].join(", ");
    assert_eq!(
        node.send(Request::get("/").header("cdn-loop", &sixteen)).await.status,
        200
    );
    let request = Request::get("/").header("cdn-loop", sixteen).header("cdn-loop", "weir");
    let answer = node.send(request).await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (508, Some("loop")));
    assert_eq!(app.requests(), 2);
}
