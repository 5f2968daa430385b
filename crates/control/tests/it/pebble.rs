//! A real authority (Debian's `pebble`), a name server that can be told what to say
//! (`pebble-challtestsrv`), somebody between us and the authority who can refuse what he likes, and a
//! node that answers questions.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};
use weir_control::certificates::Certificates;

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody has, and that no other test of this process gets. Below those that the kernel
/// gives out by itself.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::SeqCst);
        let port = u16::try_from(10_000 + (std::process::id().wrapping_mul(97) + step) % 20_000).unwrap();
        if std::net::TcpListener::bind(local(port)).is_ok() {
            return port;
        }
    }
}

/// What stands between us and the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Pass,
    /// Orders are over the limit; come again in so many seconds.
    Limited(u32),
    /// It answers nothing of use.
    Broken,
}

pub(crate) struct Authority {
    /// The directory, behind the one in between.
    pub(crate) directory: String,
    /// Who vouches for both sites.
    pub(crate) root: String,
    pub(crate) http_port: u16,
    pub(crate) tls_port: u16,
    pub(crate) name_server: SocketAddr,
    management: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    /// Orders that were asked for.
    pub(crate) orders: Arc<AtomicU32>,
    _folder: tempfile::TempDir,
    _processes: Vec<Process>,
}

impl Authority {
    /// Names are looked up at the name server that can be told what to say.
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// With another name server.
    pub(crate) async fn start_with(name_server: Option<SocketAddr>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::new();
        let (dns, management) = (local(free_port()), local(free_port()));
        let mut processes = vec![challtestsrv(dns, management)];
        let (http_port, tls_port, listen) = (free_port(), free_port(), local(free_port()));
        processes.push(pebble(
            folder.path(),
            &site,
            listen,
            (http_port, tls_port),
            name_server.unwrap_or(dns),
        ));
        let manner = Arc::new(Mutex::new(Manner::Pass));
        let orders = Arc::new(AtomicU32::new(0));
        let between = between(&site, listen, manner.clone(), orders.clone()).await;
        until_open(listen).await;
        until_open(management).await;
        Self {
            directory: format!("https://127.0.0.1:{between}/dir"),
            root: site.root,
            http_port,
            tls_port,
            name_server: name_server.unwrap_or(dns),
            management,
            manner,
            orders,
            _folder: folder,
            _processes: processes,
        }
    }

    pub(crate) fn be(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    pub(crate) fn ordered(&self) -> u32 {
        self.orders.load(Ordering::SeqCst)
    }

    /// As `PUT /v1/certificate-authority` takes it.
    pub(crate) fn settings(&self) -> Value {
        json!({
            "agree_terms": true,
            "directory": self.directory,
            "root": self.root,
            "resolver": self.name_server.to_string(),
            "http_port": self.http_port,
            "tls_port": self.tls_port,
        })
    }

    /// Tells the name server something: `add-a`, `set-default-ipv4` and the like.
    pub(crate) async fn tell(&self, what: &str, body: Value) {
        tell(self.management, what, body).await;
    }

    pub(crate) fn management(&self) -> SocketAddr {
        self.management
    }
}

async fn tell(management: SocketAddr, what: &str, body: Value) {
    let request = reqwest::Client::new()
        .post(format!("http://{management}/{what}"))
        .json(&body);
    assert!(request.send().await.unwrap().status().is_success());
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

pub(crate) async fn until_open(address: SocketAddr) {
    for _ in 0..200 {
        if TcpStream::connect(address).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing listens on {address}");
}

fn challtestsrv(dns: SocketAddr, management: SocketAddr) -> Process {
    let child = Command::new("pebble-challtestsrv")
        .args(["-dns01", &dns.to_string(), "-management", &management.to_string()])
        .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Process(child.expect("apt-get install pebble"))
}

fn pebble(folder: &Path, site: &Site, listen: SocketAddr, ports: (u16, u16), dns: SocketAddr) -> Process {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, &site.certificate).unwrap();
    std::fs::write(&key, &site.key).unwrap();
    let config = json!({"pebble": {
        "listenAddress": listen.to_string(),
        "managementListenAddress": local(free_port()).to_string(),
        "certificate": certificate,
        "privateKey": key,
        "httpPort": ports.0,
        "tlsPort": ports.1,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
    }});
    let file = folder.join("config.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let log = std::fs::File::create(folder.join("pebble.log")).unwrap();
    let child = Command::new("pebble")
        .args([
            "-config",
            file.to_str().unwrap(),
            "-dnsserver",
            &dns.to_string(),
            "-strict",
        ])
        .env("PEBBLE_VA_NOSLEEP", "1")
        .stdout(log)
        .stderr(Stdio::null())
        .spawn();
    Process(child.expect("apt-get install pebble"))
}

/// The certificate of the authority's own site.
struct Site {
    root: String,
    certificate: String,
    key: String,
    server: Arc<ServerConfig>,
    client: ClientConfig,
}

impl Site {
    fn new() -> Self {
        let mut root = CertificateParams::new(Vec::<String>::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_key = KeyPair::generate().unwrap();
        let root_certificate = root.self_signed(&root_key).unwrap();
        let issuer = Issuer::new(root, root_key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root_certificate.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            root: root_certificate.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            server: Arc::new(server(&key, &certificate)),
            client,
        }
    }
}

fn provider() -> Arc<crypto::CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

fn server(key: &KeyPair, certificate: &rcgen::Certificate) -> ServerConfig {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = provider().key_provider.load_private_key(key).unwrap();
    // Not checked for fitting each other: the extension that answers an authority is not known there.
    let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
}

/// Passes on to the authority, as long as it is told to. Gives its port.
async fn between(site: &Site, to: SocketAddr, manner: Arc<Mutex<Manner>>, orders: Arc<AtomicU32>) -> u16 {
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(site.client.clone())
        .https_only()
        .enable_http1()
        .build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let acceptor = TlsAcceptor::from(site.server.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, client, manner, orders) = (acceptor.clone(), client.clone(), manner.clone(), orders.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(move |request: Request<Incoming>| {
                    let (client, manner, orders) = (client.clone(), *manner.lock().unwrap(), orders.clone());
                    async move { pass(request, &client, to, manner, &orders).await }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    port
}

async fn pass<C>(
    request: Request<Incoming>,
    client: &Client<C, Full<Bytes>>,
    to: SocketAddr,
    manner: Manner,
    orders: &AtomicU32,
) -> Result<Response<Full<Bytes>>, String>
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let is_order = request.method() == "POST" && request.uri().path() == "/order-plz";
    if is_order {
        orders.fetch_add(1, Ordering::SeqCst);
    }
    match manner {
        Manner::Pass => {}
        Manner::Limited(seconds) if is_order => return Ok(limited(seconds)),
        Manner::Limited(_) => {}
        Manner::Broken => {
            let mut answer = Response::new(Full::new(Bytes::from_static(b"<html>502</html>")));
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            return Ok(answer);
        }
    }
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    // The authority makes its URLs from `Host`, so that all of them lead through here.
    parts.uri = format!("https://{to}{}", parts.uri.path()).parse().unwrap();
    let answer = client.request(Request::from_parts(parts, Full::new(body))).await;
    let (parts, body) = answer.map_err(|error| error.to_string())?.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Response::from_parts(parts, Full::new(body)))
}

fn limited(seconds: u32) -> Response<Full<Bytes>> {
    let problem = json!({
        "type": "urn:ietf:params:acme:error:rateLimited",
        "detail": "too many new orders recently",
        "status": 429,
    });
    Response::builder()
        .status(StatusCode::TOO_MANY_REQUESTS)
        .header("content-type", "application/problem+json")
        .header("retry-after", seconds)
        .body(Full::new(Bytes::from(problem.to_string())))
        .unwrap()
}

/// Answers questions of an authority as a node does, and says what it serves by.
pub(crate) fn node(certificates: &Certificates) {
    let certificates = certificates.clone();
    tokio::spawn(async move {
        let mut sets = certificates.subscribe();
        loop {
            let version = sets.borrow_and_update().version;
            certificates.node_reported(version);
            if sets.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Where a node answers by HTTP.
pub(crate) async fn http_door(certificates: &Certificates, port: u16) {
    let sets = certificates.subscribe();
    let answer = move |axum::extract::Path(token): axum::extract::Path<String>, headers: http::HeaderMap| {
        let set = sets.borrow().clone();
        async move {
            let host = headers["host"].to_str().unwrap().split(':').next().unwrap().to_owned();
            let fits = |host_of: &str| host_of.is_empty() || host_of == host;
            let found = set.challenges.iter().find(|one| one.token == token && fits(&one.host));
            found
                .map(|one| one.key_authorization.clone())
                .ok_or(StatusCode::NOT_FOUND)
        }
    };
    let router = axum::Router::new().route("/.well-known/acme-challenge/{token}", axum::routing::get(answer));
    let listener = TcpListener::bind(local(port)).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
}

/// Where a node answers by a handshake (RFC 8737).
pub(crate) async fn tls_door(certificates: &Certificates, port: u16) {
    let sets = certificates.subscribe();
    let listener = TcpListener::bind(local(port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let set = sets.borrow().clone();
            tokio::spawn(async move {
                let acceptor = tokio_rustls::LazyConfigAcceptor::new(Default::default(), stream);
                let Ok(start) = acceptor.await else { return };
                let host = start.client_hello().server_name().unwrap_or_default().to_owned();
                let Some(question) = set.challenges.iter().find(|one| one.host == host) else {
                    return;
                };
                let digest = Sha256::digest(&question.key_authorization);
                let mut params = CertificateParams::new(vec![host]).unwrap();
                params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
                let key = KeyPair::generate().unwrap();
                let certificate = params.self_signed(&key).unwrap();
                let mut config = server(&key, &certificate);
                config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
                let _ = start.into_stream(Arc::new(config)).await;
            });
        }
    });
}

/// A name server that is the master of a zone and takes updates that are signed by a key.
pub(crate) struct Named {
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
    _process: Process,
}

impl Named {
    pub(crate) async fn start(zone: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let address = local(free_port());
        let zone_file = path.join("zone");
        let records = "$TTL 60\n@ IN SOA ns root 1 60 60 60 60\n@ IN NS ns\nns IN A 127.0.0.1\n";
        std::fs::write(&zone_file, records).unwrap();
        let config = format!(
            "options {{ directory \"{dir}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
               pid-file none; session-keyfile none; recursion no; dnssec-validation no; }};
             controls {{ }};
             key \"weir\" {{ algorithm hmac-sha256; secret \"{key}\"; }};
             zone \"{zone}\" {{ type master; file \"{file}\"; allow-update {{ key \"weir\"; }}; }};\n",
            dir = path.display(),
            port = address.port(),
            file = zone_file.display(),
        );
        let file = path.join("named.conf");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(path.join("named.log")).unwrap();
        let child = Command::new("/usr/sbin/named")
            .args(["-f", "-g", "-c", file.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let process = Process(child.expect("apt-get install bind9"));
        until_open(address).await;
        Self {
            address,
            _folder: folder,
            _process: process,
        }
    }

    /// How many TXT records a name has.
    pub(crate) async fn records(&self, host: &str) -> usize {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(host).unwrap(), RecordType::TXT));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&message.to_vec().unwrap(), self.address).await.unwrap();
        let mut answer = vec![0; 4096];
        let length = socket.recv(&mut answer).await.unwrap();
        Message::from_vec(&answer[..length]).unwrap().answers.len()
    }
}
