//! The configuration of control: parsed once by the binary, passed down, read nowhere else.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use weir_model::protection::Network;
use weir_model::proxy::ProxyHeader;

use crate::certificates::Certificates;
use crate::secrets::Secret;

/// What control needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of everything that Weir keeps.
    pub data: PathBuf,
    /// Address of the API, the git remotes and, later, the console.
    pub control: SocketAddr,
    /// Address of the ingress, as people reach it.
    pub http: SocketAddr,
    /// Address of the ingress with TLS, as people reach it; `None` if it speaks none.
    pub https: Option<SocketAddr>,
    /// Suffix of the hosts that Weir gives: `localhost`.
    pub domain: String,
    /// `sqlite:PATH` or `postgres://…`.
    pub database: String,
    /// The machine's bundle of certificate authorities: handed to builds, and believed when mail and
    /// webhooks are sent; `None` if it has none.
    pub ca_bundle: Option<PathBuf>,
    /// Path of this binary, for git's hooks.
    pub executable: PathBuf,
    /// How many builds run at once.
    pub concurrent_builds: usize,
    /// Most bytes kept of the logs of one app of one environment.
    pub log_bytes_per_app: u64,
    /// Most bytes of the builder's cache.
    pub build_cache_bytes: u64,
    /// So many bytes of the disk stay free: what is uploaded is refused before.
    pub disk_reserve_bytes: u64,
    /// How many releases of an environment keep their images.
    pub releases_kept: i64,
    /// How long the release before stays frozen for a quick rollback, in seconds.
    pub keep_previous_s: u32,
    /// The mail server, as `billing::Mailer` takes it; without one, no mail is sent.
    pub smtp: Option<Secret>,
    /// Makes records in DNS when a certificate needs them: `PROGRAM present|cleanup NAME VALUE`.
    pub dns_hook: Option<PathBuf>,
    /// Ports of the machine that are given to services that speak TCP; none where there are none.
    pub tcp_ports: Option<RangeInclusive<u16>>,
    /// Networks of proxies that are believed about for whom they speak.
    pub trusted_proxies: Vec<Network>,
    /// In which headers they say it.
    pub proxy_header: ProxyHeader,
}

impl Config {
    /// Socket on which nodes ask for snapshots.
    pub fn node_socket(&self) -> PathBuf {
        self.data.join("run/control.sock")
    }

    /// The log of what control itself has spent. Lost, its leases count as spent to the end.
    pub fn wallet(&self) -> PathBuf {
        self.data.join("wallet-control")
    }

    /// Bare repositories, `NAME.git` each.
    pub fn repositories(&self) -> PathBuf {
        self.data.join("git")
    }

    /// The admin token, mode 0600.
    pub fn admin_token_file(&self) -> PathBuf {
        self.data.join("admin-token")
    }

    /// Address under which a host is reached by people, by TLS where it has a certificate.
    pub fn url_by(&self, certificates: &Certificates, host: &str) -> String {
        match self.https.filter(|_| certificates.covers(host)) {
            Some(https) if https.port() == 443 => format!("https://{host}"),
            Some(https) => format!("https://{host}:{}", https.port()),
            None => self.url_of(host),
        }
    }

    /// Address under which a TCP service is reached by the name of a host.
    pub fn tls_url_of(&self, host: &str) -> String {
        let port = self.https.map_or(443, |https| https.port());
        format!("tls://{host}:{port}")
    }

    /// Address under which a host is reached by people, without TLS.
    pub fn url_of(&self, host: &str) -> String {
        match self.http.port() {
            80 => format!("http://{host}"),
            port => format!("http://{host}:{port}"),
        }
    }

    /// Where a project is pushed to.
    pub fn git_url(&self, project: &weir_model::ProjectName) -> String {
        format!("http://{}/git/{project}.git", self.control)
    }
}
