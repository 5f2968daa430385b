//! That the client sees what is wrong.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::tls::Certificate;

/// A server that gives these answers in turn, one a connection; `None` is a cut connection.
async fn serve(answers: &'static [Option<&'static str>]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in answers.iter().cycle() {
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            if let Some(text) = answer {
                let _ = stream.write_all(text.as_bytes()).await;
            }
        }
    });
    address
}

async fn load(address: SocketAddr) -> Report {
    let load = Load::start(LoadOptions {
        kept_alive_per_s: 0,
        fresh_per_s: 100,
        slow: 0,
        websockets: 0,
        limit: Duration::from_millis(300),
        ..LoadOptions::usual(address, "x", "/")
    });
    load.finish_after_limit().await
}

impl Load {
    async fn finish_after_limit(self) -> Report {
        tokio::time::sleep_until(self.shared.deadline).await;
        self.finish().await
    }
}

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nprobe 2";
const OLD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nprobe 1";
const BAD: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy";
const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 70\r\n\r\nprobe 2";

#[tokio::test]
async fn right_answers_are_counted_as_such() {
    let report = load(serve(&[Some(GOOD)]).await).await;
    assert!(report.sent() >= 10 && report.failed() == 0, "{report:?}");
}

#[tokio::test]
async fn cuts_wrong_statuses_and_halves_are_failures() {
    let report = load(serve(&[Some(GOOD), None, Some(BAD), Some(HALF)]).await).await;
    let kinds: Vec<&str> = report.wrong.keys().map(String::as_str).collect();
    for word in ["no answer", "status 503", "cut"] {
        assert!(
            kinds.iter().any(|kind| kind.contains(word)),
            "{word} is missing in {kinds:?}"
        );
    }
}

#[tokio::test]
async fn old_answer_after_a_new_one_is_a_failure() {
    let report = load(serve(&[Some(GOOD), Some(OLD)]).await).await;
    assert!(
        report.wrong.keys().any(|kind| kind.contains("older release")),
        "{report:?}"
    );
}

/// A server of HTTP/2 that takes one request on each connection, says GOAWAY without an error and with
/// this last stream, and closes.
async fn go_away(last_stream: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut buffer = Vec::new();
            // The request's HEADERS (type 1) with END_STREAM and END_HEADERS on stream 1.
            while !buffer.windows(6).any(|bytes| bytes == [1, 5, 0, 0, 0, 1]) {
                assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0);
            }
            let frame = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last_stream, 0, 0, 0, 0];
            stream.write_all(&frame).await.unwrap();
        }
    });
    address
}

async fn exchange_http2_once(address: SocketAddr) -> Report {
    let load = Load::start(LoadOptions {
        kept_alive_per_s: 0,
        fresh_per_s: 0,
        slow: 0,
        websockets: 0,
        ..LoadOptions::usual(address, "x", "/")
    });
    let result = load.shared.exchange_http2(Way::Plain, "/").await.map(|_| ());
    load.shared.record("HTTP/2", None, result);
    load.finish().await
}

#[tokio::test]
async fn what_goaway_says_was_not_begun_is_sent_again() {
    let report = exchange_http2_once(go_away(0).await).await;
    assert_eq!((report.repeated, report.failed()), (3, 1), "{report:?}");
}

#[tokio::test]
async fn what_was_begun_and_then_cut_is_a_failure() {
    let report = exchange_http2_once(go_away(1).await).await;
    assert_eq!((report.repeated, report.failed()), (0, 1), "{report:?}");
}

#[tokio::test]
async fn uploads_that_do_not_come_back_as_they_were_are_failures() {
    let load = Load::start(LoadOptions {
        kept_alive_per_s: 0,
        fresh_per_s: 0,
        slow: 0,
        websockets: 0,
        uploads_per_s: 100,
        limit: Duration::from_millis(300),
        ..LoadOptions::usual(serve(&[Some(GOOD), None]).await, "x", "/")
    });
    let report = load.finish_after_limit().await;
    assert!(report.right.is_empty(), "{report:?}");
    let faults: Vec<Fault> = report.faults.keys().map(|(_, fault)| *fault).collect();
    assert!(faults.contains(&Fault::Wrong), "{report:?}");
}

/// A server of TLS that always gives this answer, with a certificate for `x`; and that certificate.
async fn serve_tls(answer: &'static str) -> (SocketAddr, Certificate) {
    let certificate = Certificate::make(&["x"]).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.chain_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, certificate)
}

async fn load_tls(address: SocketAddr, certificate: &Certificate) -> Report {
    let load = Load::start(LoadOptions {
        kept_alive_per_s: 0,
        fresh_per_s: 0,
        slow: 0,
        websockets: 0,
        tls: Some(Tls::new(address, "x", certificate).unwrap()),
        tls_per_s: [0, 100, 0],
        limit: Duration::from_millis(300),
        ..LoadOptions::usual(address, "x", "/")
    });
    load.finish_after_limit().await
}

#[tokio::test]
async fn tls_is_spoken_with_whoever_shows_the_right_certificate() {
    let (address, certificate) = serve_tls(GOOD).await;
    let report = load_tls(address, &certificate).await;
    assert!(
        report.right["TLS, new connection"] > 5 && report.failed() == 0,
        "{report:?}"
    );
    let report = load_tls(address, &Certificate::make(&["x"]).unwrap()).await;
    let faults: Vec<Fault> = report.faults.keys().map(|(_, fault)| *fault).collect();
    assert!(report.right.is_empty() && faults == [Fault::Connect], "{report:?}");
}
