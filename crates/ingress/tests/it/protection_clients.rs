//! From where a client comes: the PROXY protocol, headers of trusted proxies, and nobody else's.

use std::net::SocketAddr;

use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_ingress::ProxyHeader;
use weir_model::certificate::HttpsPolicy;
use weir_model::route::MeteredInstance;
use weir_model::{EnvironmentId, InstanceId};

use crate::authority::*;
use crate::support::*;

/// Tells the client's address, and the protocol by which it came.
async fn telling_app() -> App {
    App::start(|request| async move {
        let told = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        Response::new(full(format!(
            "{} {}",
            told("x-forwarded-for"),
            told("x-forwarded-proto")
        )))
    })
    .await
}

async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut read = Vec::new();
    let _ = within(10, "the answer", stream.read_to_end(&mut read)).await;
    String::from_utf8_lossy(&read).into_owned()
}

fn binary(command: u8, source: [u8; 4]) -> Vec<u8> {
    let addresses = [&source[..], &[192, 0, 2, 1, 0, 80, 1, 187]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, 0x11, 0, 12], &addresses].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_says_for_whom_it_speaks() {
    let node = TestNode::start_with(|config| {
        config.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
        config.https = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    let app = telling_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let line = "PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n";
    assert!(
        exchange(node.address, line.as_bytes())
            .await
            .ends_with("203.0.113.9 http")
    );
    let six = "PROXY TCP6 2001:db8::9 2001:db8::1 4711 80\r\n";
    assert!(
        exchange(node.address, six.as_bytes())
            .await
            .ends_with("2001:db8::9 http")
    );
    assert!(
        exchange(node.address, &binary(0x21, [203, 0, 113, 7]))
            .await
            .ends_with("203.0.113.7 http")
    );
    // Health checks are the load balancer's own.
    assert!(
        exchange(node.address, &binary(0x20, [203, 0, 113, 7]))
            .await
            .ends_with("127.0.0.1 http")
    );
    assert!(
        exchange(node.address, b"PROXY UNKNOWN\r\n")
            .await
            .ends_with("127.0.0.1 http")
    );
    // Who may speak it must.
    assert_eq!(exchange(node.address, b"").await, "");
    assert_eq!(exchange(node.address, b"PROXY TCP4 1.2.3.4\r\n").await, "");
    assert_eq!(node.counters().connections_refused, 2);
    // Before the handshake, where there is TLS.
    let authority = Authority::new();
    node.control.certify(authority.set(&[&["shop.localhost"]])).await;
    let mut stream = TcpStream::connect(node.https.unwrap()).await.unwrap();
    stream.write_all(line.as_bytes()).await.unwrap();
    let stream = authority.http1_client().over(stream, "shop.localhost").await.unwrap();
    let request = Request::get("/").body(empty()).unwrap();
    assert_eq!(
        Client::over(stream).await.send(request).await.text(),
        "203.0.113.9 https"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_may_say_for_whom_he_speaks() {
    let node = TestNode::start_with(|config| {
        config.proxy_protocol_from = vec!["10.0.0.0/8".parse().unwrap()];
        config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    let app = telling_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let refused = exchange(node.address, b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(
        !exchange(node.address, &binary(0x21, [203, 0, 113, 7]))
            .await
            .contains("203.0.113.7")
    );
    let forged = Request::get("/")
        .header("x-forwarded-for", "203.0.113.9")
        .header("x-forwarded-proto", "https")
        .header("forwarded", "for=203.0.113.9;proto=https");
    assert_eq!(node.send(forged).await.text(), "127.0.0.1 http");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed_by_its_headers() {
    let node = TestNode::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let app = telling_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let said = |chain: &str| {
        Request::get("/")
            .header("x-forwarded-for", chain)
            .header("x-forwarded-proto", "https")
    };
    assert_eq!(node.send(said("203.0.113.9")).await.text(), "203.0.113.9 https");
    assert_eq!(
        node.send(said("6.6.6.6, 203.0.113.9, 127.0.0.2")).await.text(),
        "203.0.113.9 https"
    );
    assert_eq!(node.get("/").await.text(), "127.0.0.1 http");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_own_words_are_not_taken_for_those_of_its_proxy() {
    let both = || {
        Request::get("/")
            .header("x-forwarded-for", "6.6.6.6")
            .header("forwarded", "for=203.0.113.9;proto=http")
    };
    for (header, told) in [
        (ProxyHeader::Either, None),
        (ProxyHeader::Forwarded, Some("203.0.113.9 http")),
        (ProxyHeader::XForwardedFor, Some("6.6.6.6 http")),
    ] {
        let node = TestNode::start_with(|config| {
            config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
            config.proxy_header = header;
        })
        .await;
        let app = telling_app().await;
        node.control.publish_and_wait(routes(&[&app])).await;
        let answer = node.send(both()).await;
        match told {
            Some(told) => assert_eq!(answer.text(), told, "{header:?}"),
            None => assert_eq!((answer.status.as_u16(), answer.weir()), (400, Some("ambiguous-client"))),
        }
    }
}

/// Begins a request that never ends, for a client behind a proxy, or for the proxy itself.
async fn waiting_for(node: &TestNode, client: Option<&str>) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let said = client.map_or(String::new(), |client| format!("x-forwarded-for: {client}\r\n"));
    let head = format!("GET /wait HTTP/1.1\r\nhost: shop.localhost\r\n{said}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_behind_a_proxy_are_counted_and_not_the_proxy() {
    let node = TestNode::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.limits.connections_per_address = 3;
    })
    .await;
    let app = App::start(|request| async move {
        if request.uri().path() == "/wait" {
            return std::future::pending().await;
        }
        http::Response::new(full("here"))
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut open = Vec::new();
    for number in 0..5 {
        open.push(waiting_for(&node, None).await);
        open.push(waiting_for(&node, Some(&format!("203.0.113.{number}"))).await);
    }
    eventually("all of them came to the app", || app.requests() == 10).await;
    let mut greedy = Vec::new();
    for _ in 0..3 {
        greedy.push(waiting_for(&node, Some("192.0.2.7")).await);
    }
    eventually("its share is taken", || app.requests() == 13).await;
    let from = |client: &str| Request::get("/").header("x-forwarded-for", client.to_owned());
    let refused = node.send(from("192.0.2.7")).await;
    assert_eq!(
        (refused.status.as_u16(), refused.weir()),
        (429, Some("too-many-at-once"))
    );
    assert_eq!(node.send(from("192.0.2.8")).await.text(), "here");
    drop(greedy);
    for _ in 0..1_000 {
        if node.send(from("192.0.2.7")).await.text() == "here" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("its places did not become free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_speaks_for_itself_is_not_bounded_and_its_clients_are() {
    let node = TestNode::start_with(|config| {
        config.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
        config.limits.connections_per_address = 2;
    })
    .await;
    let app = telling_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let connected = async |line: &str| {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let text = format!("{line}\r\nGET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        let answered = within(5, "an answer", stream.read_exact(&mut first)).await;
        answered.ok().map(|_| stream)
    };
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(connected("PROXY UNKNOWN").await.expect("a check of the balancer's own"));
    }
    let of_client = "PROXY TCP4 203.0.113.9 192.0.2.1 4711 80";
    for _ in 0..2 {
        open.push(connected(of_client).await.expect("within its share"));
    }
    assert!(connected(of_client).await.is_none(), "more than its share");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_to_a_trusted_proxy_by_tls_is_not_sent_to_tls() {
    let node = TestNode::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.https = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    let app = telling_app().await;
    let mut snapshot = routes(&[&app]);
    for host in snapshot.hosts.values_mut() {
        host.https = HttpsPolicy {
            redirect: true,
            hsts_s: 60,
        };
    }
    node.control.publish_and_wait(snapshot).await;
    node.control.certify(Authority::new().set(&[&["shop.localhost"]])).await;
    assert_eq!(node.get("/").await.status, 308);
    let answer = node.send(Request::get("/").header("x-forwarded-proto", "https")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["strict-transport-security"], "max-age=60");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_never_believed_about_for_whom_it_speaks() {
    let node = TestNode::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let app = telling_app().await;
    let line = "PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n";
    node.control.publish_and_wait(routes(&[&app])).await;
    assert!(
        exchange(node.address, line.as_bytes())
            .await
            .ends_with("203.0.113.9 http")
    );
    // The same address belongs to an instance from now on.
    let mut snapshot = routes(&[&app]);
    snapshot.metered = vec![MeteredInstance {
        instance: InstanceId::from_parts(1, 77),
        environment: EnvironmentId::from_parts(1, 1),
        app: "shop".parse().unwrap(),
        process: "web".parse().unwrap(),
        memory_bytes: 1,
        cpu_milli: 1,
        grace_s: 1,
        address: Some([127, 0, 0, 1].into()),
        frozen: false,
        stopping: false,
    }];
    node.control.publish_and_wait(snapshot).await;
    assert!(
        exchange(node.address, line.as_bytes())
            .await
            .starts_with("HTTP/1.1 400 ")
    );
    let forged = Request::get("/").header("x-forwarded-for", "203.0.113.9");
    assert_eq!(node.send(forged).await.text(), "127.0.0.1 http");
}
