//! Rates, passwords, address lists, maintenance.

use http::{Request, Response};
use weir_model::protection::{AccessRule, Layer, Maintenance, Protection, Rate, RatePer, Satisfy, User};
use weir_model::route::RouteSnapshot;

use crate::fund::*;
use crate::paying::{PLENTY, pays_from};
use crate::protection::{layer, with_layers};
use crate::support::*;

fn rate(path: &str, requests: u32, burst: u32, per: RatePer) -> Layer {
    Layer {
        rate: Some(Rate {
            requests,
            per_s: 3600,
            burst,
            per,
        }),
        ..layer(path)
    }
}

fn access(path: &str, rule: AccessRule) -> Layer {
    Layer {
        access: Some(rule),
        ..layer(path)
    }
}

/// `anna:geheim`, in bcrypt of the least cost.
fn anna() -> AccessRule {
    let user = User {
        name: "anna".to_owned(),
        hash: bcrypt::hash("geheim", 4).unwrap(),
    };
    AccessRule {
        users: Some(vec![user]),
        ..AccessRule::default()
    }
}

const ANNA: &str = "Basic YW5uYTpnZWhlaW0=";
const WRONG: &str = "Basic YW5uYTpmYWxzY2g=";

async fn status(node: &TestNode, path: &str) -> u16 {
    node.get(path).await.status.as_u16()
}

async fn status_with(node: &TestNode, path: &str, authorization: &str) -> u16 {
    let request = Request::get(path).header("authorization", authorization);
    node.send(request).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_the_rate_get_429_and_cost_nothing() {
    let fund = Fund::of(PLENTY);
    let node = TestNode::start_with(pays_from(&fund)).await;
    let app = App::says("hello").await;
    let layers = vec![rate("/login", 1, 3, RatePer::Address), rate("/", 1, 8, RatePer::All)];
    node.control
        .publish_and_wait(with_layers(routes(&[&app]), layers.clone()))
        .await;
    for _ in 0..3 {
        assert_eq!(status(&node, "/login").await, 200);
    }
    let answer = node.get("/login").await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (429, Some("rate")));
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3_500..=3_601).contains(&wait), "{wait}");
    // Other spellings of the path are the same path.
    for path in ["/LOGIN", "//login", "/%6cogin", "/x/../login", "/login;a=b"] {
        assert_eq!(status(&node, path).await, 429, "{path}");
    }
    // A new snapshot fills no bucket.
    node.control
        .publish_and_wait(with_layers(routes(&[&app]), layers))
        .await;
    assert_eq!(status(&node, "/login").await, 429);
    assert_eq!(app.requests(), 3);
    eventually("paid", || fund.used(&weir_ledger::Sku::REQUESTS) == 3).await;
    eventually("the refusals are told", || {
        let refused = node.control.last_report().unwrap().refused;
        refused.values().any(|refused| refused.rate == 7)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_for_all_counts_everybody_together() {
    let node = TestNode::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let app = App::says("hello").await;
    let layers = vec![rate("/all", 1, 3, RatePer::All), rate("/each", 1, 1, RatePer::Address)];
    node.control
        .publish_and_wait(with_layers(routes(&[&app]), layers))
        .await;
    let of = |path: &'static str, last: u8| Request::get(path).header("x-forwarded-for", format!("203.0.113.{last}"));
    for last in 1..=3 {
        assert_eq!(node.send(of("/all", last)).await.status, 200);
        assert_eq!(node.send(of("/each", last)).await.status, 200);
        assert_eq!(node.send(of("/each", last)).await.status, 429);
    }
    assert_eq!(node.send(of("/all", 4)).await.status, 429);
    assert_eq!(status(&node, "/").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_and_stays_here() {
    let node = TestNode::start().await;
    let app = App::start(|request| async move {
        let came = request.headers().get("authorization").is_some();
        Response::new(full(format!("authorization: {came}")))
    })
    .await;
    node.control
        .publish_and_wait(with_layers(routes(&[&app]), vec![access("/admin", anna())]))
        .await;
    let answer = node.get("/admin/users").await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (401, Some("password-wanted")));
    assert_eq!(
        answer.headers["www-authenticate"],
        "Basic realm=\"shop\", charset=\"UTF-8\""
    );
    for path in ["/%61dmin", "//admin", "/y/../admin/x", "/Admin", "/admin;x"] {
        assert_eq!(status(&node, path).await, 401, "{path}");
    }
    assert_eq!(app.requests(), 0);
    for _ in 0..3 {
        let answer = node.send(Request::get("/admin").header("authorization", ANNA)).await;
        assert_eq!(answer.text(), "authorization: false");
    }
    let elsewhere = node.send(Request::get("/shop").header("authorization", ANNA)).await;
    assert_eq!(elsewhere.text(), "authorization: true");
    let head = Request::head("/admin");
    assert_eq!(node.send(head).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_cannot_be_tried_without_end() {
    let node = TestNode::start().await;
    let app = App::says("hello").await;
    node.control
        .publish_and_wait(with_layers(routes(&[&app]), vec![access("/", anna())]))
        .await;
    for _ in 0..10 {
        assert_eq!(status_with(&node, "/", WRONG).await, 401);
    }
    let answer = node.send(Request::get("/").header("authorization", WRONG)).await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (429, Some("passwords")));
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(
        status_with(&node, "/", ANNA).await,
        429,
        "the right one is not found this way"
    );
    assert_eq!(status(&node, "/").await, 401, "who tries none is not punished");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_password_is_asked_for_once_and_then_remembered() {
    let node = TestNode::start().await;
    let app = App::says("hello").await;
    node.control
        .publish_and_wait(with_layers(routes(&[&app]), vec![access("/", anna())]))
        .await;
    // Many more than may be tried: what is right takes nothing.
    for _ in 0..30 {
        assert_eq!(status_with(&node, "/", ANNA).await, 200);
    }
    // Whoever is taken out is out at once.
    let nobody = AccessRule {
        users: Some(Vec::new()),
        ..AccessRule::default()
    };
    node.control
        .publish_and_wait(with_layers(routes(&[&app]), vec![access("/", nobody)]))
        .await;
    assert_eq!(status_with(&node, "/", ANNA).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_let_in_or_not() {
    let node = TestNode::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let app = App::says("hello").await;
    let rule = |allow: &[&str], deny: &[&str]| AccessRule {
        allow: allow.iter().map(|text| text.parse().unwrap()).collect(),
        deny: deny.iter().map(|text| text.parse().unwrap()).collect(),
        ..AccessRule::default()
    };
    let both = |satisfy| AccessRule {
        satisfy,
        allow: vec!["10.0.0.0/8".parse().unwrap()],
        ..anna()
    };
    let layers = vec![
        access("/office", rule(&["10.0.0.0/8", "2001:db8::/32"], &["10.6.6.6"])),
        access("/not", rule(&[], &["10.6.6.6"])),
        access("/any", both(Satisfy::Any)),
        access("/all", both(Satisfy::All)),
    ];
    node.control
        .publish_and_wait(with_layers(routes(&[&app]), layers))
        .await;
    for (path, from, authorization, expected) in [
        ("/office", "10.1.2.3", "", 200),
        ("/office", "2001:db8::7", "", 200),
        ("/office", "10.6.6.6", "", 403),
        ("/office", "203.0.113.9", "", 403),
        ("/not", "10.6.6.6", "", 403),
        ("/not", "203.0.113.9", "", 200),
        ("/any", "10.1.2.3", "", 200),
        ("/any", "203.0.113.9", "", 401),
        ("/any", "203.0.113.9", ANNA, 200),
        ("/all", "10.1.2.3", "", 401),
        ("/all", "10.1.2.3", ANNA, 200),
        ("/all", "203.0.113.9", ANNA, 403),
    ] {
        let request = Request::get(path).header("x-forwarded-for", from);
        let request = match authorization {
            "" => request,
            authorization => request.header("authorization", authorization),
        };
        let answer = node.send(request).await;
        assert_eq!(
            answer.status.as_u16(),
            expected,
            "{path} from {from} with {authorization:?}"
        );
    }
}

fn closed(mut snapshot: RouteSnapshot, maintenance: Maintenance) -> RouteSnapshot {
    for host in snapshot.hosts.values_mut() {
        host.protection = Some(Protection {
            layers: Vec::new(),
            maintenance: Some(maintenance.clone()),
        });
    }
    snapshot
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_closed_for_maintenance_says_so_and_lets_its_owner_in() {
    let node = TestNode::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let app = App::says("hello").await;
    let maintenance = Maintenance {
        message: Some("We move the <shop>.".to_owned()),
        allow: vec!["203.0.113.9".parse().unwrap()],
        ..Maintenance::default()
    };
    node.control
        .publish_and_wait(closed(routes(&[&app]), maintenance.clone()))
        .await;
    let browser = || Request::get("/").header("accept", "text/html");
    let answer = node.send(browser()).await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (503, Some("maintenance")));
    assert!(answer.headers.contains_key("retry-after") && answer.text().contains("We move the &lt;shop&gt;."));
    let owner = node.send(browser().header("x-forwarded-for", "203.0.113.9")).await;
    assert_eq!(owner.text(), "hello");
    let page = Maintenance {
        page: Some("<h1>Own page</h1>".to_owned()),
        ..maintenance
    };
    node.control.publish_and_wait(closed(routes(&[&app]), page)).await;
    let answer = node.send(browser()).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (503, "<h1>Own page</h1>"));
    assert!(
        answer.headers["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("default-src 'none'")
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    node.control.publish_and_wait(routes(&[&app])).await;
    assert_eq!(status(&node, "/").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_link_lets_a_browser_through_until_the_maintenance_ends() {
    let node = TestNode::start().await;
    let app = App::start(|request| async move {
        let cookies = request.headers().get("cookie");
        http::Response::new(full(format!("cookies: {cookies:?}")))
    })
    .await;
    // SHA-256 of `abc`.
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let maintenance = Maintenance {
        bypass: Some(hash.to_owned()),
        ..Maintenance::default()
    };
    let logged = with_route(routes(&[&app]), |route| {
        route.access_log = weir_model::access_log::AccessLogging::WithQuery;
    });
    node.control
        .publish_and_wait(closed(logged.clone(), maintenance.clone()))
        .await;
    let asked = |path: &str, cookie: &str| Request::get(path.to_owned()).header("cookie", cookie.to_owned());
    assert_eq!(status(&node, "/.weir/bypass/abd").await, 503);
    assert_eq!(
        node.send(asked("/", "weir-bypass=abd")).await.weir(),
        Some("maintenance")
    );
    let answer = node.get("/.weir/bypass/abc").await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (303, Some("bypass")));
    assert_eq!(
        (&answer.headers["location"], &answer.headers["cache-control"]),
        (&"/".parse().unwrap(), &"no-store".parse().unwrap())
    );
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("; HttpOnly") && !cookie.contains("Max-Age"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let seen = node.send(asked("/", &format!("a=1; {cookie}"))).await;
    assert_eq!(seen.text(), "cookies: Some(\"a=1\")", "the app does not see it");
    let posted = Request::post("/.weir/bypass/abc").header("host", "shop.localhost");
    assert_eq!(node.send(posted).await.status, 503);
    // Closed anew, or in another environment, it is worth nothing.
    let anew = Maintenance {
        bypass: Some(format!("{}00", &hash[..62])),
        ..maintenance
    };
    node.control.publish_and_wait(closed(logged.clone(), anew)).await;
    assert_eq!(node.send(asked("/", cookie)).await.weir(), Some("maintenance"));
    node.control.publish_and_wait(logged).await;
    assert_eq!(node.get("/last").await.status, 200);
    let entries = || node.control.access_entries();
    eventually("the last is logged", || {
        entries().iter().any(|entry| entry.request.path == "/last")
    })
    .await;
    let told = serde_json::to_string(&entries()).unwrap();
    let used = entries()
        .iter()
        .filter(|entry| entry.request.method == "GET" && entry.request.path.ends_with("/abc"))
        .count();
    assert_eq!(used, 0, "{told}");
}
