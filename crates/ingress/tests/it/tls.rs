//! Handshakes: which certificate a client gets, who is refused, what an authority sees, and that
//! nobody can keep others out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme, version,
};
use weir_model::certificate::{Certificate, CertificateSet, Challenge};

use crate::authority::*;
use crate::support::*;

fn der(certificate: &Certificate) -> Vec<u8> {
    CertificateDer::from_pem_slice(certificate.chain_pem.as_bytes())
        .unwrap()
        .to_vec()
}

/// How the node refused a handshake.
async fn refusal(client: &TlsClient, address: SocketAddr, host: &str) -> AlertDescription {
    let error = client.try_connect(address, host).await.unwrap_err();
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => *alert,
        other => panic!("{other:?}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_name_gets_its_certificate_and_a_name_without_one_is_refused() {
    let node = tls_node().await;
    let authority = Authority::new();
    let set = authority.set(&[&["shop.example.org", "www.shop.example.org"], &["*.example.org"]]);
    let (exact, wild) = (der(&set.certificates[0]), der(&set.certificates[1]));
    // Before there are any.
    let client = authority.client();
    let alert = refusal(&client, node.tls(), "shop.example.org").await;
    assert_eq!(alert, AlertDescription::UnrecognisedName);
    node.control.certify(set.clone()).await;
    for (host, expected) in [
        ("shop.example.org", &exact),
        ("www.shop.example.org", &exact),
        ("SHOP.example.org", &exact),
        ("other.example.org", &wild),
    ] {
        assert_eq!(&shown(&client.connect(node.tls(), host).await), expected, "{host}");
    }
    for host in ["example.org", "a.b.example.org", "shop.example.com", "127.0.0.1"] {
        let alert = refusal(&client, node.tls(), host).await;
        assert_eq!(alert, AlertDescription::UnrecognisedName, "{host}");
    }
    // Who names no host gets the platform's own.
    let mut with_default = set;
    with_default
        .certificates
        .push(authority.issue(&["weir.example.net", "127.0.0.1"]));
    with_default.default_host = Some("weir.example.net".to_owned());
    node.control.certify(with_default.clone()).await;
    let stream = client.connect(node.tls(), "127.0.0.1").await;
    assert_eq!(shown(&stream), der(&with_default.certificates[2]));
    assert_eq!(
        refusal(&client, node.tls(), "shop.example.com").await,
        AlertDescription::UnrecognisedName
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_go_on_while_their_certificate_is_replaced_and_taken_away() {
    let node = tls_node().await;
    let app = App::says("hello").await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let authority = Authority::new();
    let host = "shop.localhost";
    node.control.certify(authority.set(&[&[host]])).await;
    let client = authority.http1_client();
    let mut open = client.http1(node.tls(), host).await;
    let ask = || Request::get("/").body(empty()).unwrap();
    assert_eq!(open.send(ask()).await.text(), "hello");
    let renewed = authority.set(&[&[host]]);
    node.control.certify(renewed.clone()).await;
    assert_eq!(open.send(ask()).await.text(), "hello");
    // By somebody who does not resume a session, in which the old one was shown.
    let stream = authority.client().connect(node.tls(), host).await;
    assert_eq!(shown(&stream), der(&renewed.certificates[0]));
    node.control.certify(CertificateSet::default()).await;
    assert_eq!(open.send(ask()).await.text(), "hello");
    // Not even who could resume a session.
    let alert = refusal(&client, node.tls(), host).await;
    assert_eq!(alert, AlertDescription::UnrecognisedName);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_resumed_by_whichever_worker_gets_them() {
    let node = tls_node().await;
    let app = App::says("hello").await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let authority = Authority::new();
    node.control.certify(authority.set(&[&["shop.localhost"]])).await;
    for tls in [&version::TLS12, &version::TLS13] {
        let client = authority.client_with(&[tls], &[b"http/1.1"]);
        let mut kinds = Vec::new();
        // All open at once, so that both workers have some.
        let mut open = Vec::new();
        for _ in 0..6 {
            let stream = client.connect(node.tls(), "shop.localhost").await;
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
            let mut http = Client::over(stream).await;
            // The ticket comes with what the server says first.
            assert_eq!(http.send(Request::get("/").body(empty()).unwrap()).await.status, 200);
            open.push(http);
        }
        assert_eq!(kinds[0], HandshakeKind::Full, "{tls:?}");
        assert_eq!(kinds[1..], [HandshakeKind::Resumed; 5], "{tls:?}");
    }
    assert_eq!(node.counters().handshakes, 12);
}

/// Believes everybody, as the authority does that only looks for its answer.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn asking_authority() -> TlsClient {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    TlsClient(Arc::new(config))
}

fn challenge(host: &str) -> Challenge {
    Challenge {
        host: host.to_owned(),
        token: "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA".to_owned(),
        key_authorization: "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.thumbprint".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_asks_in_the_handshake_sees_the_answer_and_nothing_else() {
    let node = tls_node().await;
    let authority = Authority::new();
    // One host is new, the other one has a certificate that is being renewed.
    let mut set = authority.set(&[&["old.example.org"]]);
    set.challenges = vec![challenge("new.example.org"), challenge("old.example.org")];
    node.control.certify(set.clone()).await;
    let asking = asking_authority();
    for host in ["new.example.org", "old.example.org"] {
        let mut stream = asking.connect(node.tls(), host).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
        let certificate = shown(&stream);
        // The extension 1.3.6.1.5.5.7.1.31, critical, with the hash as an octet string inside.
        let mut extension = vec![0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f];
        extension.extend([0x01, 0x01, 0xff, 0x04, 0x22, 0x04, 0x20]);
        extension.extend(Sha256::digest(&challenge(host).key_authorization));
        let has = |part: &[u8]| certificate.windows(part.len()).any(|window| window == part);
        assert!(has(&extension), "{host}");
        assert!(has(host.as_bytes()), "{host}");
        let mut rest = Vec::new();
        within(5, "the end", stream.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.is_empty());
    }
    // Other clients see nothing of it.
    let stream = authority.client().connect(node.tls(), "old.example.org").await;
    assert_eq!(shown(&stream), der(&set.certificates[0]));
    let alert = refusal(&authority.client(), node.tls(), "new.example.org").await;
    assert_eq!(alert, AlertDescription::UnrecognisedName);
    // And nobody speaks that protocol when nothing is asked.
    set.challenges.clear();
    node.control.certify(set).await;
    let alert = refusal(&asking, node.tls(), "old.example.org").await;
    assert_eq!(alert, AlertDescription::NoApplicationProtocol);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_begins_handshakes_is_bounded_and_keeps_nobody_out() {
    let node = TestNode::start_with(|config| {
        with_tls(config);
        config.workers = 1;
        config.limits.handshakes = 8;
        config.limits.handshake_timeout = Duration::from_secs(60);
    })
    .await;
    let app = App::says("hello").await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let authority = Authority::new();
    node.control.certify(authority.set(&[&["shop.localhost"]])).await;
    let mut slow = Vec::new();
    for number in 0..40 {
        let mut stream = TcpStream::connect(node.tls()).await.unwrap();
        // Some say nothing, some begin a record and stop.
        if number % 2 == 0 {
            stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        }
        slow.push(stream);
    }
    let client = authority.http1_client();
    for _ in 0..20 {
        let begun = Instant::now();
        let mut http = client.http1(node.tls(), "shop.localhost").await;
        assert_eq!(
            http.send(Request::get("/").body(empty()).unwrap()).await.text(),
            "hello"
        );
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    let mut closed = 0;
    for stream in &mut slow {
        let read = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut [0; 64])).await;
        closed += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
    }
    // Each visitor took the place of one of those that were left.
    assert!((32..=40).contains(&closed), "{closed} of 40 were closed");
    assert_eq!(node.counters().handshakes, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_takes_too_long_is_given_up() {
    let node = TestNode::start_with(|config| {
        with_tls(config);
        config.limits.handshake_timeout = Duration::from_millis(300);
    })
    .await;
    let begun = Instant::now();
    let mut stream = TcpStream::connect(node.tls()).await.unwrap();
    stream.write_all(&[22]).await.unwrap();
    let read = within(5, "the end", stream.read(&mut [0; 64])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
    // Something else than TLS is told so, and is not served.
    let answer = raw(node.tls(), b"GET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n").await;
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_kept_for_the_owner_only_and_served_from_without_control() {
    let mut node = tls_node().await;
    let app = App::says("hello").await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let authority = Authority::new();
    node.control.certify(authority.set(&[&["shop.localhost"]])).await;
    let file = node.folder.path().join("certificates.json");
    let key = |text: String| text.contains("PRIVATE KEY");
    eventually("kept", || std::fs::read_to_string(&file).is_ok_and(key)).await;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    node.stop().await;
    node.control.kill();
    node.start_again();
    let client = authority.http1_client();
    let mut http = client.http1(node.tls(), "shop.localhost").await;
    let answer = http.send(Request::get("/").body(empty()).unwrap()).await;
    assert_eq!(answer.text(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_reach_public_names_by_tls_at_their_gateway() {
    let node = tls_node().await;
    let app = App::says("through the gateway").await;
    let authority = Authority::new();
    node.control.certify(authority.set(&[&["shop.localhost"]])).await;
    let gateway = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 79));
    node.control
        .publish_and_wait(with_gateway(routes(&[&app]), gateway))
        .await;
    let address = SocketAddr::new(gateway, node.tls().port());
    within(5, "it listens at the gateway", async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let client = authority.http1_client();
    let mut http = client.http1(address, "shop.localhost").await;
    let answer = http.send(Request::get("/").body(empty()).unwrap()).await;
    assert_eq!(answer.text(), "through the gateway");
}
