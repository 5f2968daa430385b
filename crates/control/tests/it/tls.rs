//! Webhooks by HTTPS and mail by TLS, to real servers: taken where the certificate is right; where
//! it is wrong nothing is said to anybody, the log says why, and it is tried again.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::harness::Control;
use crate::mail_server::{self, Manner, Said, next_mail};
use crate::notices::{add, start};

/// Who issues certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// As a file that WEIR can be told to trust.
    fn bundle(&self, folder: &tempfile::TempDir) -> PathBuf {
        let path = folder.path().join("authorities.pem");
        std::fs::write(&path, self.0.pem()).unwrap();
        path
    }

    /// What a server for these names is to speak with.
    fn server(&self, names: &[&str], is_over: bool) -> Arc<ServerConfig> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if is_over {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            );
        Arc::new(config.unwrap())
    }
}

/// Somebody else's system behind TLS; its certificate may be changed.
#[derive(Clone)]
struct Receiver {
    tls: Arc<Mutex<Arc<ServerConfig>>>,
    got: Arc<Mutex<Vec<Value>>>,
    connections: Arc<Mutex<u32>>,
    port: u16,
}

impl Receiver {
    async fn start(tls: Arc<ServerConfig>) -> Self {
        let listener = tokio::net::TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0))
            .await
            .unwrap();
        let receiver = Self {
            tls: Arc::new(Mutex::new(tls)),
            got: Arc::default(),
            connections: Arc::default(),
            port: listener.local_addr().unwrap().port(),
        };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *serving.connections.lock().unwrap() += 1;
                let acceptor = TlsAcceptor::from(serving.tls.lock().unwrap().clone());
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let serving = serving.clone();
                let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let got = serving.got.clone();
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        got.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                        Ok::<_, hyper::Error>(hyper::Response::new(String::new()))
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), answer));
            }
        });
        receiver
    }

    fn got(&self) -> Vec<Value> {
        self.got.lock().unwrap().clone()
    }
}

/// Adds a contact and sends it a test; gives the notice's identity.
async fn send_test(control: &Control, body: Value) -> Value {
    let contact = add(control, body).await;
    let path = format!("/v1/contacts/{}/test", contact["id"].as_str().unwrap());
    let (status, notice) = control.call(Method::POST, &path, None).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{notice}");
    notice["id"].clone()
}

/// The newest notice, once it satisfies a condition.
async fn until(control: &Control, is_enough: impl Fn(&Value) -> bool) -> Value {
    let mut log = Value::Null;
    for _ in 0..600 {
        log = control.call(Method::GET, "/v1/notices", None).await.1;
        if is_enough(&log[0]) {
            return log[0].clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came so far: {log}");
}

fn webhook(host: &str, port: u16) -> Value {
    json!({"channel": "webhook", "address": format!("https://{host}:{port}/hook"), "allow_private": true})
}

#[tokio::test]
async fn a_webhook_goes_by_https_to_whoever_an_authority_vouches_for() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let control = start(None, Some(authority.bundle(&folder))).await;
    let receiver = Receiver::start(authority.server(&["localhost", "127.0.0.1"], false)).await;
    for host in ["localhost", "127.0.0.1"] {
        let id = send_test(&control, webhook(host, receiver.port)).await;
        let notice = until(&control, |notice| notice["state"] == "sent").await;
        assert_eq!((&notice["id"], &notice["attempts"]), (&id, &json!(1)));
        assert_eq!(receiver.got().last().unwrap()["id"], id);
    }
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_with_the_reason_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let right = authority.server(&["localhost"], false);
    let control = start(None, Some(authority.bundle(&folder))).await;
    for (wrong, reason) in [
        (
            Authority::new("theirs").server(&["localhost"], false),
            "no authority that this machine trusts has issued it",
        ),
        (
            authority.server(&["other.example.org"], false),
            "it is not for localhost",
        ),
        (authority.server(&["localhost"], true), "it has expired"),
    ] {
        let receiver = Receiver::start(wrong).await;
        let id = send_test(&control, webhook("localhost", receiver.port)).await;
        let notice = until(&control, |notice| notice["id"] == id && notice["attempts"] == 1).await;
        assert_eq!(notice["state"], "waiting");
        let problem = notice["problem"].as_str().unwrap();
        assert_eq!(
            problem,
            format!("the certificate of localhost is refused: {reason}; nothing was sent")
        );
        assert_eq!(*receiver.connections.lock().unwrap(), 1, "it was there");
        assert_eq!(receiver.got(), Vec::<Value>::new());
        receiver.tls.lock().unwrap().clone_from(&right);
        let notice = until(&control, |notice| notice["id"] == id && notice["state"] == "sent").await;
        assert_eq!((&notice["attempts"], notice.get("problem")), (&json!(2), None));
        let got = receiver.got();
        assert_eq!((got.len(), &got[0]["id"]), (1, &id));
    }
}

const MAIL: fn() -> Value = || json!({"channel": "email", "address": "ops@example.org"});

fn url(scheme: &str, port: u16, rest: &str) -> String {
    format!("{scheme}://me:hunter2@localhost:{port}?from=weir@example.org{rest}")
}

#[tokio::test]
async fn mail_goes_by_tls_from_the_start_and_by_starttls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    for (manner, scheme, rest) in [
        (Manner::Implicit, "smtps", ""),
        (Manner::StartTls, "smtp", "&tls=required"),
    ] {
        let tls = authority.server(&["localhost"], false);
        let (port, mut said) = mail_server::start(manner, Some(tls)).await;
        let control = start(Some(&url(scheme, port, rest)), Some(authority.bundle(&folder))).await;
        send_test(&control, MAIL()).await;
        let mail = next_mail(&mut said).await;
        assert!(
            mail.contains("AUTH PLAIN") && mail.contains("To: ops@example.org"),
            "{mail}"
        );
        until(&control, |notice| notice["state"] == "sent").await;
    }
}

#[tokio::test]
async fn a_mail_server_that_cannot_be_trusted_gets_neither_password_nor_mail() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let strangers = || Authority::new("theirs").server(&["localhost"], false);
    let named = authority.server(&["other.example.org"], false);
    for (manner, tls, scheme, rest, reason) in [
        (
            Manner::Implicit,
            Some(strangers()),
            "smtps",
            "",
            "certificate is refused",
        ),
        (
            Manner::StartTls,
            Some(strangers()),
            "smtp",
            "&tls=required",
            "certificate is refused",
        ),
        (
            Manner::StartTls,
            Some(named),
            "smtp",
            "&tls=required",
            "certificate is refused",
        ),
        (Manner::Plain, None, "smtp", "&tls=required", "STARTTLS"),
    ] {
        let (port, mut said) = mail_server::start(manner, tls).await;
        let control = start(Some(&url(scheme, port, rest)), Some(authority.bundle(&folder))).await;
        send_test(&control, MAIL()).await;
        let notice = until(&control, |notice| notice["attempts"] == 1).await;
        let problem = notice["problem"].as_str().unwrap();
        assert!(
            problem.contains(reason) && notice["state"] == "waiting",
            "{manner:?}: {problem}"
        );
        // It is tried again.
        until(&control, |notice| notice["attempts"] == 2).await;
        while let Ok(Some(said)) = tokio::time::timeout(Duration::from_millis(200), said.recv()).await {
            match said {
                Said::Left(words) => assert!(!words.contains("AUTH") && !words.contains("MAIL"), "{words}"),
                Said::Mail(mail) => panic!("{manner:?}: it got\n{mail}"),
            }
        }
    }
}
