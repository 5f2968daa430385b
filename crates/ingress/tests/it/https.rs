//! What goes on inside TLS, and what sends clients there.

use std::collections::BTreeMap;

use http::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::{ProtocolVersion, version};
use weir_ledger::Sku;
use weir_model::certificate::{CertificateSet, Challenge, HttpsPolicy};
use weir_model::route::{HostRoutes, RouteSnapshot, RouteState};

use crate::authority::*;
use crate::fund::*;
use crate::paying::{PLENTY, pays_from, streaming_app};
use crate::support::*;
use crate::upgrades::{echo, shouting_app, upgrade_over};

/// Tells the protocol that the client came by.
async fn telling_app() -> App {
    App::start(|request| async move {
        let told = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        let text = format!("{} {}", told("x-forwarded-proto"), told("host"));
        Response::new(full(text))
    })
    .await
}

/// The routes of `shop.localhost` under these names, with what each says of itself.
fn named(routes: &RouteSnapshot, names: &[(&str, HttpsPolicy, Option<&str>)]) -> RouteSnapshot {
    let host = &routes.hosts["shop.localhost"];
    let hosts = names.iter().map(|(name, https, to)| {
        let host = HostRoutes {
            https: *https,
            redirect_to: to.map(str::to_owned),
            ..host.clone()
        };
        ((*name).to_owned(), host)
    });
    RouteSnapshot {
        hosts: hosts.collect::<BTreeMap<_, _>>(),
        ..routes.clone()
    }
}

const SAYS_NOTHING: HttpsPolicy = HttpsPolicy {
    redirect: false,
    hsts_s: 0,
};

fn ask(host: &str, path: &str) -> Request<AppBody> {
    Request::get(path).header("host", host).body(empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_served_inside_both_versions_of_tls() {
    let node = tls_node().await;
    let app = telling_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let authority = Authority::new();
    node.control.certify(authority.set(&[&["shop.localhost"]])).await;
    for (tls, expected) in [
        (&version::TLS12, ProtocolVersion::TLSv1_2),
        (&version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        // Without a word about the protocol it is HTTP/1.1.
        for protocols in [&[&b"http/1.1"[..]][..], &[]] {
            let client = authority.client_with(&[tls], protocols);
            let stream = client.connect(node.tls(), "shop.localhost").await;
            assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
            let answer = Client::over(stream).await.send(ask("shop.localhost", "/")).await;
            assert_eq!(answer.text(), "https shop.localhost");
        }
        let client = authority.client_with(&[tls], &[b"http/1.1", b"h2"]);
        let stream = client.connect(node.tls(), "shop.localhost").await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let answer = over_http2(stream, "https://shop.localhost/").await;
        assert_eq!((answer.0, &*answer.2), (200, "https shop.localhost"));
        assert_eq!(answer.1, Version::HTTP_2);
    }
    assert_eq!(node.get("/").await.text(), "http shop.localhost");
}

type Http2Answer = (u16, Version, String);

async fn over_http2(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    url: &str,
) -> Http2Answer {
    let connecting = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = connecting.await.unwrap();
    let running = tokio::spawn(connection);
    let answer = sender
        .send_request(Request::get(url).body(empty()).unwrap())
        .await
        .unwrap();
    let (parts, body) = answer.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    running.abort();
    let text = String::from_utf8_lossy(&body).into_owned();
    (parts.status.as_u16(), parts.version, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_that_was_agreed_on_is_the_one_that_is_spoken() {
    let node = tls_node().await;
    let app = telling_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let authority = Authority::new();
    node.control.certify(authority.set(&[&["shop.localhost"]])).await;
    for (agreed, spoken) in [
        (&b"h2"[..], &b"GET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n"[..]),
        (
            &b"http/1.1"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        ),
    ] {
        let client = authority.client_with(&[&version::TLS13], &[agreed]);
        let mut stream = client.connect(node.tls(), "shop.localhost").await;
        stream.write_all(spoken).await.unwrap();
        let mut read = Vec::new();
        let _ = within(5, "the end", stream.read_to_end(&mut read)).await;
        assert!(read.is_empty(), "{:?}", String::from_utf8_lossy(&read));
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_another_certificate_is_not_served_over_the_connection() {
    let node = tls_node().await;
    let app = telling_app().await;
    let names = ["a.example.org", "b.example.org", "own.example.org", "plain.example.com"];
    let hosts = named(&routes(&[&app]), &names.map(|name| (name, SAYS_NOTHING, None)));
    node.control.publish_and_wait(hosts).await;
    let authority = Authority::new();
    let set = || authority.set(&[&["*.example.org"], &["own.example.org"]]);
    node.control.certify(set()).await;
    let client = authority.http1_client();
    let mut open = client.http1(node.tls(), "a.example.org").await;
    // Also once it is another certificate, for the same names.
    for _ in 0..2 {
        // The same certificate; and a host that has none, for which nobody can be deceived.
        for host in [
            "a.example.org",
            "b.example.org",
            "plain.example.com",
            "a.example.org:443",
        ] {
            let answer = open.send(ask(host, "/")).await;
            assert_eq!(
                (answer.status.as_u16(), answer.text()),
                (200, &*format!("https {host}"))
            );
        }
        let answer = open.send(ask("own.example.org", "/")).await;
        assert_eq!((answer.status.as_u16(), answer.weir()), (421, Some("misdirected")));
        node.control.certify(set()).await;
    }
    let http2 = authority.client();
    for (host, status) in [("own.example.org", 421), ("b.example.org", 200)] {
        let stream = http2.connect(node.tls(), "a.example.org").await;
        assert_eq!(
            over_http2(stream, &format!("https://{host}/")).await.0,
            status,
            "{host}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_tls_are_sent_to_it_where_the_host_says_so_and_has_a_certificate() {
    let node = tls_node().await;
    let app = telling_app().await;
    let redirects = HttpsPolicy {
        redirect: true,
        hsts_s: 0,
    };
    let names = [
        ("shop.example.org", redirects, None),
        ("bare.example.com", redirects, None),
        ("quiet.example.org", SAYS_NOTHING, None),
    ];
    node.control.publish_and_wait(named(&routes(&[&app]), &names)).await;
    let authority = Authority::new();
    let mut http = Client::connect(node.address).await;
    // Nowhere before there is a certificate.
    assert_eq!(http.send(ask("shop.example.org", "/")).await.status, 200);
    node.control.certify(authority.set(&[&["*.example.org"]])).await;
    let port = node.tls().port();
    let request = Request::post("/a//b?c=d&e=%2F").header("host", "Shop.Example.org:8080");
    let answer = http.send(request.body(full("kept")).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (308, Some("redirect")));
    let expected = format!("https://shop.example.org:{port}/a//b?c=d&e=%2F");
    assert_eq!(answer.headers["location"], expected);
    for host in ["bare.example.com", "quiet.example.org"] {
        let answer = http.send(ask(host, "/")).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, &*format!("http {host}")));
    }
    let client = authority.http1_client();
    let mut https = client.http1(node.tls(), "shop.example.org").await;
    assert_eq!(
        https.send(ask("shop.example.org", "/")).await.text(),
        "https shop.example.org"
    );
    // A node that speaks no TLS sends nobody to it.
    let deaf = TestNode::start().await;
    deaf.control.publish_and_wait(named(&routes(&[&app]), &names)).await;
    deaf.control.certify(authority.set(&[&["*.example.org"]])).await;
    let mut http = Client::connect(deaf.address).await;
    assert_eq!(http.send(ask("shop.example.org", "/")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_may_send_everybody_to_another_one() {
    let node = tls_node().await;
    let app = telling_app().await;
    let redirects = HttpsPolicy {
        redirect: true,
        hsts_s: 600,
    };
    let names = [
        ("example.org", redirects, Some("www.example.org")),
        ("www.example.org", redirects, None),
        ("old.example.org", SAYS_NOTHING, Some("new.example.com")),
        ("itself.example.org", SAYS_NOTHING, Some("itself.example.org")),
    ];
    node.control.publish_and_wait(named(&routes(&[&app]), &names)).await;
    let authority = Authority::new();
    let certificates = authority.set(&[&["example.org", "*.example.org"]]);
    node.control.certify(certificates).await;
    let (plain, tls) = (node.address.port(), node.tls().port());
    let mut http = Client::connect(node.address).await;
    let client = authority.http1_client();
    let mut https = client.http1(node.tls(), "example.org").await;
    let by_tls = format!("example.org:{tls}");
    // In one step, because it is known what comes next.
    let answer = http.send(ask("example.org", "/a?b")).await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.headers["location"], format!("https://www.example.org:{tls}/a?b"));
    // Who came by a port that is passed on to ours goes on coming by it.
    for (host, location) in [
        (&*by_tls, format!("https://www.example.org:{tls}/a?b")),
        ("example.org", "https://www.example.org/a?b".to_owned()),
    ] {
        let answer = https.send(ask(host, "/a?b")).await;
        assert_eq!(answer.headers["location"], location, "{host}");
    }
    // Without a certificate there, without TLS.
    let answer = http.send(ask("old.example.org:8080", "/")).await;
    assert_eq!(answer.headers["location"], "http://new.example.com:8080/");
    let answer = https.send(ask("old.example.org", "/")).await;
    assert_eq!(answer.headers["location"], format!("http://new.example.com:{plain}/"));
    let answer = http.send(ask("itself.example.org", "/")).await;
    assert_eq!(answer.text(), "http itself.example.org");
    assert_eq!(app.requests(), 1);
    // Redirects tell of it, too; but only where they come by TLS.
    let told = |answer: &Answer| answer.headers.get("strict-transport-security").cloned();
    assert_eq!(told(&https.send(ask("example.org", "/")).await).unwrap(), "max-age=600");
    assert_eq!(told(&http.send(ask("example.org", "/")).await), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_to_come_only_by_tls_where_that_is_asked_for_and_only_there() {
    let node = tls_node().await;
    let app = App::start(|request| async move {
        let mut answer = Response::new(full("hello"));
        if request.uri().path() == "/own" {
            let own = "max-age=5; includeSubDomains".parse().unwrap();
            answer.headers_mut().insert("strict-transport-security", own);
        }
        answer
    })
    .await;
    let strict = HttpsPolicy {
        redirect: false,
        hsts_s: 31_536_000,
    };
    let names = [
        ("shop.localhost", strict, None),
        ("quiet.localhost", SAYS_NOTHING, None),
    ];
    let serving = named(&routes(&[&app]), &names);
    node.control.publish_and_wait(serving).await;
    let authority = Authority::new();
    node.control
        .certify(authority.set(&[&["shop.localhost", "quiet.localhost"]]))
        .await;
    let client = authority.http1_client();
    let mut https = client.http1(node.tls(), "shop.localhost").await;
    let mut http = Client::connect(node.address).await;
    let told = |answer: Answer| {
        let mut values = answer.headers.get_all("strict-transport-security").iter();
        let value = values.next().map(|value| value.to_str().unwrap().to_owned());
        assert!(values.next().is_none());
        value
    };
    assert_eq!(
        told(https.send(ask("shop.localhost", "/")).await).as_deref(),
        Some("max-age=31536000")
    );
    assert_eq!(
        told(https.send(ask("shop.localhost", "/own")).await).as_deref(),
        Some("max-age=5; includeSubDomains")
    );
    assert_eq!(told(https.send(ask("quiet.localhost", "/")).await), None);
    assert_eq!(told(http.send(ask("shop.localhost", "/")).await), None);
    // Pages of Weir's own tell it, too.
    let paused = named(&in_state(RouteState::Paused), &names);
    node.control.publish_and_wait(paused).await;
    let answer = https.send(ask("shop.localhost", "/")).await;
    assert_eq!(answer.weir(), Some("paused"));
    assert_eq!(told(answer).as_deref(), Some("max-age=31536000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_asks_by_http_is_answered_before_everything_else() {
    let node = tls_node().await;
    let app = App::says("the app").await;
    let redirects = HttpsPolicy {
        redirect: true,
        hsts_s: 0,
    };
    let names = [("shop.example.org", redirects, Some("www.example.org"))];
    node.control.publish_and_wait(named(&routes(&[&app]), &names)).await;
    let authority = Authority::new();
    let challenge = |host: &str, token: &str| Challenge {
        host: host.to_owned(),
        token: token.to_owned(),
        key_authorization: format!("{token}.thumbprint-of-{host}"),
    };
    let set = CertificateSet {
        challenges: vec![
            challenge("shop.example.org", "one"),
            challenge("shop.example.org", "two"),
            // Nothing is served there yet.
            challenge("unknown.example.org", "one"),
        ],
        ..authority.set(&[&["*.example.org"]])
    };
    node.control.certify(set).await;
    let mut http = Client::connect(node.address).await;
    let path = |token: &str| format!("/.well-known/acme-challenge/{token}");
    for (host, token) in [
        ("shop.example.org", "one"),
        ("shop.example.org:80", "two"),
        ("unknown.example.org", "one"),
    ] {
        let answer = http.send(ask(host, &path(token))).await;
        assert_eq!(answer.status, 200);
        let name = host.trim_end_matches(":80");
        assert_eq!(answer.text(), format!("{token}.thumbprint-of-{name}"));
    }
    for (host, token, status) in [
        ("shop.example.org", "three", 308),
        ("shop.example.org", "", 308),
        ("unknown.example.org", "two", 404),
    ] {
        assert_eq!(
            http.send(ask(host, &path(token))).await.status,
            status,
            "{host} {token}"
        );
    }
    // An authority that was sent to TLS before asks there.
    let client = authority.http1_client();
    let mut https = client.http1(node.tls(), "shop.example.org").await;
    let answer = https.send(ask("shop.example.org", &path("one"))).await;
    assert_eq!(answer.text(), "one.thumbprint-of-shop.example.org");
    assert_eq!(app.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_go_through_tls() {
    let node = tls_node().await;
    let app = shouting_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let authority = Authority::new();
    node.control.certify(authority.set(&[&["shop.localhost"]])).await;
    let client = authority.http1_client();
    let mut socket = upgrade_over(client.http1(node.tls(), "shop.localhost").await).await;
    echo(&mut socket).await;
    // It outlives its certificate.
    node.control.certify(CertificateSet::default()).await;
    echo(&mut socket).await;
    drop(socket);
    eventually("counted out", || node.control.load(app.backend.instance).upgraded == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_is_paid_to_the_byte_inside_tls_too() {
    let fund = Fund::of(PLENTY);
    let app = streaming_app().await;
    let node = TestNode::start_with(|config| {
        pays_from(&fund)(config);
        with_tls(config);
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let authority = Authority::new();
    node.control.certify(authority.set(&[&["shop.localhost"]])).await;
    let client = authority.http1_client();
    let mut https = client.http1(node.tls(), "shop.localhost").await;
    let answer = https.send(ask("shop.localhost", "/20000")).await;
    assert_eq!(answer.body.len(), 20_000_000);
    let fields: usize = answer
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    // The node adds this one itself.
    let framing = "transfer-encoding: chunked\r\n".len();
    let head = "HTTP/1.1 200 OK\r\n\r\n".len() + fields - framing;
    let owed = u64::try_from(head + 20_000_000).unwrap();
    eventually("paid", || fund.used(&Sku::EGRESS) == owed).await;
    assert_eq!(fund.used(&Sku::REQUESTS), 1);
    // Redirects and refusals cost nothing, as all that is Weir's own.
    assert_eq!(https.send(ask("nobody.localhost", "/")).await.status, 404);
    assert_eq!(fund.used(&Sku::REQUESTS), 1);
}
