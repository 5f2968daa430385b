//! Clients that nobody here wrote: curl, nghttp and h2load, from packages (`./test` installs them).

use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;

use crate::authority::*;
use crate::support::*;

const MANY_BYTES: usize = 20 << 20;

/// Answers with what it was asked: method, path, length of the body; `/large` with many bytes.
async fn app() -> App {
    App::start(|request: http::Request<hyper::body::Incoming>| async move {
        let (parts, body) = request.into_parts();
        let length = body
            .collect()
            .await
            .map(|body| body.to_bytes().len())
            .unwrap_or_default();
        if parts.uri.path() == "/large" {
            return Response::new(full(vec![b'l'; MANY_BYTES]));
        }
        Response::new(full(format!("{} {} {length}", parts.method, parts.uri)))
    })
    .await
}

async fn start() -> (TestNode, App) {
    let node = TestNode::start().await;
    let app = app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    (node, app)
}

async fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(program);
    let ran = command.args(arguments).kill_on_drop(true).output();
    let ran = tokio::time::timeout(Duration::from_secs(30), ran).await.unwrap();
    ran.unwrap_or_else(|error| panic!("cannot run {program} (apt-get install curl nghttp2-client): {error}"))
}

async fn curl(address: SocketAddr, path: &str, arguments: &[&str]) -> String {
    let url = format!("http://shop.localhost:{}{path}", address.port());
    curl_at(address, &url, arguments).await
}

async fn curl_at(address: SocketAddr, url: &str, arguments: &[&str]) -> String {
    let resolve = format!("shop.localhost:{}:127.0.0.1", address.port());
    let always = [
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--noproxy",
        "*",
        "--resolve",
        &resolve,
    ];
    let output = run("curl", &[&always[..], arguments, &[url]].concat()).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?} {url}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_served_in_both_versions_of_http() {
    let (node, _app) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let upload = folder.path().join("upload");
    std::fs::write(&upload, vec![0; MANY_BYTES]).unwrap();
    let data = format!("@{}", upload.display());
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let ask = |path: &'static str, words: Vec<String>| {
            let address = node.address;
            async move {
                let words: Vec<&str> = std::iter::once(version)
                    .chain(words.iter().map(String::as_str))
                    .collect();
                curl(address, path, &words).await
            }
        };
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(ask("/a?b=c", Vec::new()).await, "GET /a?b=c 0", "{version}");
        assert!(
            ask("/", words("--head")).await.contains("content-length: 8"),
            "{version}"
        );
        // curl asks first whether it may send so much (`Expect`).
        let sent = words(&format!("--request PUT --data-binary {data}"));
        assert_eq!(
            ask("/up", sent.clone()).await,
            format!("PUT /up {MANY_BYTES}"),
            "{version}"
        );
        let mut chunked = sent;
        chunked.extend(["--header".to_owned(), "Transfer-Encoding: chunked".to_owned()]);
        if version == "--http1.1" {
            assert_eq!(ask("/up", chunked).await, format!("PUT /up {MANY_BYTES}"));
        }
        let told = ask(
            "/large",
            words("--output /dev/null --write-out %{size_download}/%{http_version}"),
        )
        .await;
        let expected = if version == "--http1.1" { "1.1" } else { "2" };
        assert_eq!(told, format!("{MANY_BYTES}/{expected}"));
    }
    // Who offers to change to HTTP/2 is served as he came.
    assert_eq!(curl(node.address, "/", &["--http2"]).await, "GET / 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn nghttp_is_served_with_small_windows_and_padding() {
    let (node, _app) = start().await;
    let host = format!("--header=:authority: shop.localhost:{}", node.address.port());
    let url = |path: &str| format!("http://{}{path}", node.address);
    let (a, b, large) = (url("/a"), url("/b"), url("/large"));
    for extra in [
        &["--no-dep"][..],
        &["--window-bits=14", "--padding=100"],
        &["--max-concurrent-streams=1"],
    ] {
        let arguments = [
            &["--null-out", "--stat", "--timeout=20", &host][..],
            extra,
            &[&a, &large, &b],
        ]
        .concat();
        let output = run("nghttp", &arguments).await;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {text}");
        let served = text.lines().filter(|line| line.contains(" 200 ")).count();
        assert_eq!(served, 3, "{arguments:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h2load_gets_every_answer() {
    let (node, app) = start().await;
    let to = format!("--connect-to={}", node.address);
    for version in ["--no-tls-proto=h2c", "--h1"] {
        let arguments = [
            "-n",
            "3000",
            "-c",
            "20",
            "-m",
            "30",
            version,
            &to,
            "http://shop.localhost/a",
        ];
        let output = run("h2load", &arguments).await;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout") && text.contains("status codes: 3000 2xx"),
            "{text}"
        );
    }
    assert_eq!(app.requests(), 6_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_and_h2load_are_served_inside_tls() {
    let node = tls_node().await;
    let app = app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let authority = Authority::new();
    node.control.certify(authority.set(&[&["shop.localhost"]])).await;
    let folder = tempfile::tempdir().unwrap();
    let believed = folder.path().join("authority.pem");
    std::fs::write(&believed, authority.pem()).unwrap();
    let believed = believed.display().to_string();
    let url = |path: &str| format!("https://shop.localhost:{}{path}", node.tls().port());
    for version in [
        &["--http1.1", "--tls-max", "1.2"][..],
        &["--http1.1", "--tlsv1.3"],
        &["--http2", "--tls-max", "1.2"],
        &["--http2", "--tlsv1.3"],
    ] {
        let arguments = [version, &["--cacert", &believed]].concat();
        assert_eq!(
            curl_at(node.tls(), &url("/a"), &arguments).await,
            "GET /a 0",
            "{version:?}"
        );
        let counting = [
            "--output",
            "/dev/null",
            "--write-out",
            "%{size_download}/%{http_version}",
        ];
        let told = curl_at(node.tls(), &url("/large"), &[&arguments[..], &counting].concat()).await;
        let expected = if version[0] == "--http1.1" { "1.1" } else { "2" };
        assert_eq!(told, format!("{MANY_BYTES}/{expected}"), "{version:?}");
        let upload = folder.path().join("upload");
        std::fs::write(&upload, vec![0; MANY_BYTES]).unwrap();
        let data = format!("@{}", upload.display());
        let sending = [&arguments[..], &["--request", "PUT", "--data-binary", &data]].concat();
        assert_eq!(
            curl_at(node.tls(), &url("/up"), &sending).await,
            format!("PUT /up {MANY_BYTES}"),
            "{version:?}"
        );
    }
    let to = format!("--connect-to={}", node.tls());
    // 50 streams at once on each of two connections.
    for (version, clients, streams) in [("--npn-list=h2", "2", "50"), ("--h1", "20", "1")] {
        let arguments = ["-n", "10000", "-c", clients, "-m", streams, version, &to, &url("/a")];
        let output = run("h2load", &arguments).await;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("10000 succeeded, 0 failed, 0 errored, 0 timeout") && text.contains("10000 2xx"),
            "{text}"
        );
    }
}

/// What is sent before the handshake has ended can be sent again by whoever overheard it (RFC 8446, 8).
#[tokio::test(flavor = "multi_thread")]
async fn openssl_is_offered_no_early_data() {
    let node = tls_node().await;
    let app = app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let authority = Authority::new();
    node.control.certify(authority.set(&[&["shop.localhost"]])).await;
    let folder = tempfile::tempdir().unwrap();
    let (session, early) = (folder.path().join("session"), folder.path().join("early"));
    std::fs::write(&early, "GET /early HTTP/1.1\r\nhost: shop.localhost\r\n\r\n").unwrap();
    let to = node.tls().to_string();
    let (session, early) = (session.display().to_string(), early.display().to_string());
    let common = ["s_client", "-connect", &to, "-servername", "shop.localhost", "-tls1_3"];
    let first = talk([&common[..], &["-sess_out", &session, "-ign_eof"]].concat()).await;
    assert!(first.contains("HTTP/1.1 200"), "{first}");
    let again = talk([&common[..], &["-sess_in", &session, "-early_data", &early, "-ign_eof"]].concat()).await;
    // The session is taken up again, and yet nothing is sent ahead.
    assert!(again.contains("Reused, TLSv1.3"), "{again}");
    assert!(
        again.contains("Early data was not sent") && again.contains("HTTP/1.1 200"),
        "{again}"
    );
    assert_eq!(app.requests(), 2);
}

/// What openssl says while it asks for `/a` inside TLS.
async fn talk(arguments: Vec<&str>) -> String {
    let mut command = tokio::process::Command::new("openssl");
    let command = command.args(arguments).kill_on_drop(true);
    let pipes = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = pipes.stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let request = b"GET /a HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stdin, request).await.unwrap();
    let output = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output());
    String::from_utf8_lossy(&output.await.unwrap().unwrap().stdout).into_owned()
}
