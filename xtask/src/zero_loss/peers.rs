//! nginx and HAProxy before the same app, as people run them: whatever is changed is written into their
//! configuration, and they are reloaded. Old instances are left until what they had to do is over.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::http::{Ask, send};
use e2e::processes::{Signal, signal};
use e2e::tls::{Certificate, Tls};
use e2e::until;
use tokio::time::sleep;

use super::{Change, DRAIN, PAUSE, System, TLS_HOST, Target};
use crate::ingress_bench::process::Process;
use crate::ingress_bench::tools::Tools;

const HOST: &str = "zero-loss.localhost";
const PATIENCE: Duration = Duration::from_secs(20);
/// Until whoever looks after an instance has started it again.
const RESTART: Duration = Duration::from_secs(1);
const INSTANCES: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proxy {
    Nginx,
    Haproxy,
}

impl Proxy {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
        }
    }
}

/// An instance of the app.
struct Instance {
    version: u32,
    port: u16,
    _process: Process,
}

pub(super) struct Peer {
    proxy: Proxy,
    folder: PathBuf,
    app: PathBuf,
    program: PathBuf,
    process: Option<Process>,
    target: Target,
    instances: Vec<Instance>,
    /// What requests may be going on at, and since when nothing new comes.
    retired: Vec<(Instant, Instance)>,
    started: u32,
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

impl Peer {
    pub(super) async fn start(proxy: Proxy, tools: &Tools, app: &Path, certificate: &Certificate) -> Result<Self> {
        let folder = tools.folder.join(format!("zero-loss-{}", proxy.name()));
        std::fs::create_dir_all(&folder)?;
        let both = format!("{}{}", certificate.chain_pem, certificate.key_pem);
        let files = [
            ("chain.pem", &certificate.chain_pem),
            ("key.pem", &certificate.key_pem),
            ("both.pem", &both),
        ];
        for (name, text) in files {
            std::fs::write(folder.join(name), text)?;
        }
        let program = match proxy {
            Proxy::Nginx => &tools.nginx,
            Proxy::Haproxy => &tools.haproxy,
        };
        let mut peer = Self {
            proxy,
            folder,
            app: app.to_owned(),
            program: program.clone(),
            process: None,
            target: Target {
                http: free_address()?,
                host: HOST.to_owned(),
                tls: Tls::new(free_address()?, TLS_HOST, certificate)?,
            },
            instances: Vec::new(),
            retired: Vec::new(),
            started: 0,
        };
        let first = peer.instance(1, free_address()?.port()).await?;
        peer.instances.push(first);
        peer.write_configuration()?;
        peer.process = Some(Process::start_anywhere(peer.command(), &peer.folder.join("log"))?);
        peer.wait_for(1).await?;
        Ok(peer)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        match self.proxy {
            Proxy::Nginx => command.arg("-p").arg(&self.folder).args(["-e", "stderr", "-c"]),
            Proxy::Haproxy => command.args(["-W", "-db", "-f"]),
        };
        command.arg(self.configuration());
        command
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("configuration")
    }

    fn write_configuration(&self) -> Result<()> {
        let text = match self.proxy {
            Proxy::Nginx => self.nginx(),
            Proxy::Haproxy => self.haproxy(),
        };
        Ok(std::fs::write(self.configuration(), text)?)
    }

    /// Starts an instance and waits until it answers.
    async fn instance(&mut self, version: u32, port: u16) -> Result<Instance> {
        let mut command = Command::new(&self.app);
        command
            .env("VERSION", version.to_string())
            .env("PORT", port.to_string());
        self.started += 1;
        let process = Process::start_anywhere(command, &self.folder.join(format!("app-{}.log", self.started % 10)))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        until("an instance of the app answers", PATIENCE, || async {
            Ok((send(address, Ask::get(HOST, "/")).await?.status == 200).then_some(()))
        })
        .await?;
        Ok(Instance {
            version,
            port,
            _process: process,
        })
    }

    async fn wait_for(&self, version: u32) -> Result<()> {
        let name = self.proxy.name();
        let log = self.folder.join("log");
        let answers = until("it serves", PATIENCE, || async {
            let answer = send(self.target.http, Ask::get(HOST, "/")).await?;
            ensure!(answer.status == 200, "status {}", answer.status);
            Ok((answer.body == format!("probe {version}\n")).then_some(()))
        });
        let words = || format!("{name} does not serve version {version}; see {}", log.display());
        answers.await.with_context(words)?;
        self.target.tls.is_reached().await
    }

    /// Writes what is so now, and has it read.
    fn reload(&mut self) -> Result<()> {
        self.write_configuration()?;
        self.retired.retain(|(since, _)| since.elapsed() < DRAIN);
        let process = self.process.as_mut().context("it does not run")?;
        ensure!(!process.has_ended(), "{} has ended", self.proxy.name());
        match self.proxy {
            // What `nginx -s reload` does.
            Proxy::Nginx => signal(process.id(), Signal::SIGHUP),
            // What `systemctl reload haproxy` does.
            Proxy::Haproxy => signal(process.id(), Signal::SIGUSR2),
        }
    }

    fn retire(&mut self, instances: Vec<Instance>) {
        let now = Instant::now();
        self.retired
            .extend(instances.into_iter().map(|instance| (now, instance)));
    }

    /// As many new instances of this version in the place of the old ones.
    async fn switch(&mut self, version: u32) -> Result<()> {
        let mut new = Vec::new();
        for _ in 0..self.instances.len() {
            new.push(self.instance(version, free_address()?.port()).await?);
        }
        let old = std::mem::replace(&mut self.instances, new);
        self.reload()?;
        self.retire(old);
        self.wait_for(version).await
    }

    async fn scale(&mut self, instances: usize) -> Result<()> {
        let version = self.version();
        while self.instances.len() < instances {
            let another = self.instance(version, free_address()?.port()).await?;
            self.instances.push(another);
        }
        let fewer = self.instances.split_off(instances);
        self.reload()?;
        self.retire(fewer);
        Ok(())
    }

    fn version(&self) -> u32 {
        self.instances.first().map_or(1, |instance| instance.version)
    }

    /// Ends an instance with SIGKILL; another one comes in its place.
    async fn kill(&mut self) -> Result<()> {
        let killed = self.instances.remove(0);
        let (version, port) = (killed.version, killed.port);
        drop(killed);
        sleep(RESTART).await;
        let another = self.instance(version, port).await?;
        self.instances.push(another);
        Ok(())
    }

    fn nginx(&self) -> String {
        let (http, https) = (self.target.http, self.target.tls.address);
        let mut servers = String::new();
        for instance in &self.instances {
            let _ = writeln!(servers, "    server 127.0.0.1:{};", instance.port);
        }
        format!(
            "daemon off; user root; worker_processes auto; worker_rlimit_nofile 20000; pid nginx.pid;\n\
             events {{ worker_connections 8192; }}\n\
             http {{\n  access_log off; server_tokens off;\n  \
             client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path other; uwsgi_temp_path other; \
             scgi_temp_path other;\n  \
             map $http_upgrade $upgrade {{ default upgrade; '' ''; }}\n  \
             upstream app {{\n{servers}    keepalive 64;\n  }}\n  \
             server {{\n    listen {http}; listen {https} ssl http2;\n    \
             ssl_certificate chain.pem; ssl_certificate_key key.pem;\n    location / {{\n      \
             proxy_pass http://app; proxy_http_version 1.1; proxy_read_timeout 1h;\n      \
             proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade; \
             proxy_set_header Connection $upgrade;\n    }}\n  }}\n}}\n"
        )
    }

    fn haproxy(&self) -> String {
        let (http, https) = (self.target.http, self.target.tls.address);
        let folder = self.folder.display();
        let mut servers = String::new();
        for instance in &self.instances {
            let port = instance.port;
            let _ = writeln!(servers, "  server app-{port} 127.0.0.1:{port} check inter 500ms");
        }
        format!(
            "global\n  maxconn 5000\n  stats socket {folder}/socket mode 600 level admin expose-fd listeners\n  \
             ssl-default-bind-options ssl-min-ver TLSv1.2\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  timeout tunnel 1h\n  \
             timeout http-keep-alive 1h\n  option redispatch\n  retries 3\n  retry-on conn-failure empty-response\n\
             frontend all\n  bind {http}\n  bind {https} ssl crt {folder}/both.pem alpn h2,http/1.1\n  \
             http-request disable-l7-retry if METH_POST\n  default_backend app\n\
             backend app\n  balance leastconn\n{servers}"
        )
    }
}

impl System for Peer {
    fn name(&self) -> &'static str {
        self.proxy.name()
    }

    fn target(&self) -> &Target {
        &self.target
    }

    async fn prepare(&mut self, change: Change) -> Result<()> {
        if matches!(change, Change::ScaleIn | Change::Kill) {
            self.scale(INSTANCES).await?;
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn change(&mut self, change: Change) -> Result<()> {
        let version = self.version();
        match change {
            Change::Deploy => self.switch(version + 1).await,
            // To the one before, and back.
            Change::Rollback if version.is_multiple_of(2) => self.switch(version - 1).await,
            Change::Rollback => self.switch(version + 1).await,
            // HAProxy executes its program anew at each reload; nginx only reads its configuration.
            Change::Upgrade => self.reload(),
            Change::ScaleIn => {
                self.scale(INSTANCES - 1).await?;
                sleep(PAUSE).await;
                self.scale(INSTANCES).await
            }
            Change::Kill => self.kill().await,
        }
    }
}
