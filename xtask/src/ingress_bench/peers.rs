//! The proxies beside each other: how each is told the same thing, started and ended.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use weir_model::{EnvironmentId, InstanceId};

use super::load::{LOAD_CORE, host};
use super::process::Process;
use super::tools::Tools;

/// The core of the proxy that is measured; the others do nothing meanwhile.
const PROXY_CORE: usize = 0;
/// For a proxy to read its configuration, with a hundred thousand hosts.
const START: Duration = Duration::from_secs(60);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proxy {
    /// The app without a proxy; only where latencies are compared.
    None,
    Weir,
    Nginx,
    Haproxy,
    Envoy,
    Caddy,
}

impl Proxy {
    pub(super) const ALL: [Self; 5] = [Self::Weir, Self::Nginx, Self::Haproxy, Self::Envoy, Self::Caddy];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "no proxy",
            Self::Weir => "Weir",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
            Self::Caddy => "Caddy",
        }
    }
}

/// A proxy, or the app, that answers.
pub(super) struct Running {
    pub(super) proxy: Proxy,
    pub(super) process: Process,
    pub(super) http: SocketAddr,
    /// None where it speaks no TLS here.
    pub(super) https: Option<SocketAddr>,
}

/// What every proxy is told.
pub(super) struct Setting<'a> {
    pub(super) tools: &'a Tools,
    /// Where the examples of the ingress lie.
    pub(super) examples: &'a Path,
    pub(super) app: SocketAddr,
    pub(super) hosts: usize,
    pub(super) tls: bool,
}

/// Starts the app.
pub(super) fn start_app(tools: &Tools, examples: &Path) -> Result<Running> {
    let log = tools.folder.join("app.log");
    let mut process = Process::start(LOAD_CORE, &Command::new(examples.join("static_app")), &log)?;
    let http = told(&mut process, &log)?.0;
    Ok(Running {
        proxy: Proxy::None,
        process,
        http,
        https: None,
    })
}

/// Starts a proxy and waits until it answers; none if its program is not here.
pub(super) fn start(proxy: Proxy, setting: &Setting<'_>) -> Result<Option<Running>> {
    let folder = setting.tools.folder.join(proxy.name());
    std::fs::create_dir_all(&folder)?;
    let (http, https) = (free_address()?, setting.tls.then(free_address).transpose()?);
    let ports = Ports { http, https };
    let Some(command) = command(proxy, setting, ports, &folder)? else {
        return Ok(None);
    };
    let log = folder.join("log");
    let mut process = Process::start(PROXY_CORE, &command, &log)?;
    let (http, https) = match proxy {
        Proxy::Weir => told(&mut process, &log)?,
        _ => (http, https),
    };
    let mut running = Running {
        proxy,
        process,
        http,
        https,
    };
    running.wait(&host(setting.hosts - 1), &log)?;
    Ok(Some(running))
}

fn command(proxy: Proxy, setting: &Setting<'_>, ports: Ports, folder: &Path) -> Result<Option<Command>> {
    let tools = setting.tools;
    let mut command = match proxy {
        Proxy::None => return Ok(None),
        Proxy::Weir => {
            let snapshot = file(folder, "snapshot.json", &snapshot(setting).to_string())?;
            let mut command = Command::new(setting.examples.join("node_alone"));
            command.arg(snapshot);
            command
        }
        Proxy::Nginx => {
            let config = file(folder, "nginx.conf", &nginx(setting, ports))?;
            let mut command = Command::new(&tools.nginx);
            command.arg("-p").arg(folder).args(["-e", "stderr", "-c"]).arg(config);
            command
        }
        Proxy::Haproxy => {
            let map: String = (0..setting.hosts).map(|number| host(number) + " app\n").collect();
            let map = file(folder, "hosts.map", &map)?;
            let config = file(folder, "haproxy.cfg", &haproxy(setting, ports, &map))?;
            let mut command = Command::new(&tools.haproxy);
            command.args(["-db", "-f"]).arg(config);
            command
        }
        Proxy::Caddy => {
            let config = file(folder, "caddy.json", &caddy(setting, ports).to_string())?;
            let mut command = Command::new(&tools.caddy);
            command.args(["run", "--config"]).arg(config);
            command.env("HOME", folder).env("GOMAXPROCS", "1");
            command
        }
        Proxy::Envoy => {
            let Some(envoy) = &tools.envoy else { return Ok(None) };
            let config = file(folder, "envoy.json", &envoy_config(setting, ports).to_string())?;
            let mut command = Command::new(envoy);
            command.args(["--concurrency", "1", "-l", "error", "--disable-hot-restart", "-c"]);
            command.arg(config);
            command
        }
    };
    command.current_dir(folder);
    Ok(Some(command))
}

fn file(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

#[derive(Clone, Copy)]
struct Ports {
    http: SocketAddr,
    https: Option<SocketAddr>,
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The addresses that a program says it listens on: the first line of its log.
fn told(process: &mut Process, log: &Path) -> Result<(SocketAddr, Option<SocketAddr>)> {
    let begin = Instant::now();
    while begin.elapsed() < START && !process.has_ended() {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if let Some((line, _)) = text.split_once('\n') {
            let line: Value = serde_json::from_str(line).with_context(|| format!("it says {line}"))?;
            let address = |key: &str| line[key].as_str().map(str::parse).transpose();
            return Ok((address("http")?.context("no address")?, address("https")?));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("it does not say where it listens; see {}", log.display())
}

impl Running {
    fn wait(&mut self, host: &str, log: &Path) -> Result<()> {
        let begin = Instant::now();
        let name = self.proxy.name();
        while !Client::connect(self.http).is_ok_and(|mut client| client.get(host).is_ok()) {
            ensure!(!self.process.has_ended(), "{name} ended; see {}", log.display());
            ensure!(begin.elapsed() < START, "{name} does not answer; see {}", log.display());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What an idle connection costs, in KiB: of so many that were used once and then left open.
    pub(super) fn idle_connection_kib(&self, host: &str, connections: u32) -> Result<f64> {
        let before = self.process.memory_kib();
        let mut open = Vec::new();
        for _ in 0..connections {
            let mut client = Client::connect(self.http)?;
            client.get(host)?;
            open.push(client);
        }
        let grown = self.process.memory_kib().saturating_sub(before);
        Ok(grown as f64 / f64::from(connections))
    }
}

/// A connection for single requests.
struct Client(TcpStream);

impl Client {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self(stream))
    }

    /// Asks for the small answer.
    fn get(&mut self, host: &str) -> Result<()> {
        write!(self.0, "GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")?;
        let mut read = Vec::new();
        let mut buffer = [0; 4096];
        while !read.ends_with(b"sss") {
            let length = self.0.read(&mut buffer)?;
            ensure!(length > 0, "closed");
            read.extend_from_slice(&buffer[..length]);
        }
        ensure!(read.starts_with(b"HTTP/1.1 200 "), "not answered by the app");
        Ok(())
    }
}

/// Names of fields as in the file that a node keeps; see `weir_model::route`.
fn snapshot(setting: &Setting<'_>) -> Value {
    let environment = EnvironmentId::from_parts(1, 1).to_string();
    let instance = InstanceId::from_parts(1, 1).to_string();
    let route = json!({
        "path_prefix": "/",
        "target": "shop.web",
        "state": { "state": "serve" },
        "pool": [{ "instance": instance, "address": setting.app }],
        "concurrency": 10_000,
        "first_byte_timeout_ms": 10_000,
    });
    let routes = json!({ "environment": environment, "title": "shop", "routes": [route] });
    let hosts: serde_json::Map<String, Value> = (0..setting.hosts)
        .map(|number| (host(number), routes.clone()))
        .collect();
    let metered = json!({
        "instance": instance,
        "environment": environment,
        "app": "shop",
        "process": "web",
        "memory_bytes": 1 << 28,
        "cpu_milli": 1_000,
        "address": "10.1.2.3",
        "frozen": false,
    });
    json!({ "generation": 1, "gateways": [], "hosts": hosts, "draining": [], "metered": [metered] })
}

fn nginx(setting: &Setting<'_>, ports: Ports) -> String {
    let folder = setting.tools.folder.display();
    let mut hosts = String::new();
    for number in 0..setting.hosts {
        let _ = writeln!(hosts, "    {} app;", host(number));
    }
    let https = ports.https.map_or(String::new(), |address| {
        format!(
            "listen {address} ssl http2; ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem; \
             ssl_session_cache shared:all:8m;"
        )
    });
    format!(
        "daemon off; user root; worker_processes 1; worker_rlimit_nofile 20000; pid nginx.pid;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; server_tokens off;\n  \
         client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path other; uwsgi_temp_path other; \
         scgi_temp_path other;\n  \
         map_hash_max_size 262144; map_hash_bucket_size 128;\n  map $host $app {{\n    default \"\";\n{hosts}  }}\n  \
         upstream app {{ server {}; keepalive 256; keepalive_requests 1000000000; }}\n  \
         server {{\n    listen {}; {https}\n    location / {{\n      if ($app = \"\") {{ return 404; }}\n      \
         proxy_pass http://$app; proxy_http_version 1.1; proxy_set_header Connection \"\";\n      \
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n    }}\n  }}\n}}\n",
        setting.app, ports.http
    )
}

fn haproxy(setting: &Setting<'_>, ports: Ports, map: &Path) -> String {
    let https = ports.https.map_or(String::new(), |address| {
        let both = setting.tools.folder.join("both.pem");
        format!("  bind {address} ssl crt {} alpn h2,http/1.1\n", both.display())
    });
    format!(
        "global\n  nbthread 1\n  maxconn 5000\n  ssl-default-bind-options ssl-min-ver TLSv1.2\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  \
         timeout http-keep-alive 1h\n  http-reuse always\n  option forwardfor\n\
         frontend all\n  bind {}\n{https}  \
         use_backend %[req.hdr(host),field(1,:),lower,map_str({},none)]\n\
         backend app\n  server app {}\n\
         backend none\n  http-request return status 404\n",
        ports.http,
        map.display(),
        setting.app
    )
}

fn caddy(setting: &Setting<'_>, ports: Ports) -> Value {
    let names: Vec<String> = (0..setting.hosts).map(host).collect();
    let proxy = json!({ "handler": "reverse_proxy", "upstreams": [{ "dial": setting.app.to_string() }] });
    let routes = json!([{ "match": [{ "host": names }], "handle": [proxy] }]);
    let off = json!({ "disable": true });
    let mut servers = json!({
        "plain": { "listen": [ports.http.to_string()], "routes": routes, "automatic_https": off },
    });
    if let Some(https) = ports.https {
        servers["tls"] = json!({
            "listen": [https.to_string()],
            "routes": routes,
            "automatic_https": off,
            "tls_connection_policies": [{}],
        });
    }
    let folder = &setting.tools.folder;
    let files = json!([{ "certificate": folder.join("chain.pem"), "key": folder.join("key.pem") }]);
    json!({
        "admin": { "disabled": true },
        "logging": { "logs": { "default": { "level": "ERROR" } } },
        "apps": { "http": { "servers": servers }, "tls": { "certificates": { "load_files": files } } },
    })
}

fn envoy_config(setting: &Setting<'_>, ports: Ports) -> Value {
    let socket =
        |address: SocketAddr| json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } });
    let names: Vec<String> = (0..setting.hosts).map(host).collect();
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.{name}");
    let router = json!({
        "name": "router",
        "typed_config": { "@type": kind("filters.http.router.v3.Router"), "dynamic_stats": false },
    });
    let manager = json!({
        "name": "http",
        "typed_config": {
            "@type": kind("filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "http",
            "generate_request_id": false,
            "use_remote_address": true,
            "http_filters": [router],
            "route_config": { "virtual_hosts": [{
                "name": "all",
                "domains": names,
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "app" } }],
            }] },
        },
    });
    let mut listeners = vec![json!({
        "name": "plain", "address": socket(ports.http), "filter_chains": [{ "filters": [manager] }],
    })];
    if let Some(https) = ports.https {
        let folder = &setting.tools.folder;
        let pair = json!({
            "certificate_chain": { "filename": folder.join("chain.pem") },
            "private_key": { "filename": folder.join("key.pem") },
        });
        let tls = json!({
            "name": "tls",
            "typed_config": {
                "@type": kind("transport_sockets.tls.v3.DownstreamTlsContext"),
                "common_tls_context": { "tls_certificates": [pair], "alpn_protocols": ["h2", "http/1.1"] },
            },
        });
        let chain = json!({ "filters": [manager], "transport_socket": tls });
        listeners.push(json!({ "name": "tls", "address": socket(https), "filter_chains": [chain] }));
    }
    let many = json!({ "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000 });
    let endpoint = json!({ "endpoint": { "address": socket(setting.app) } });
    let cluster = json!({
        "name": "app",
        "type": "STATIC",
        "circuit_breakers": { "thresholds": [many] },
        "load_assignment": { "cluster_name": "app", "endpoints": [{ "lb_endpoints": [endpoint] }] },
    });
    json!({ "static_resources": { "listeners": listeners, "clusters": [cluster] } })
}
