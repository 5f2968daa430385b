//! What `weir up` is told, and passes on to its parts.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use weir_model::files::MemorySize;

use super::executable::executable;
use super::protection::ProtectionOptions;
use crate::credentials;
use crate::failure::{Failure, Result};

/// The database by environment, because its address may hold a password, and everybody can read
/// the command lines of processes.
pub(crate) const DATABASE_VARIABLE: &str = "WEIR_DATABASE";

/// The mail server by environment, for the same reason.
pub(crate) const SMTP_VARIABLE: &str = "WEIR_SMTP";

/// Ports where browsers look unless they are told another.
/// So much of the disk stays free for what runs, whatever is uploaded.
const DISK_RESERVE_BYTES: u64 = 1 << 30;
const USUAL_HTTP: u16 = 80;
const USUAL_HTTPS: u16 = 443;

/// Options that `up`, `control` and `node` share.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlatformOptions {
    /// The folder of everything that Weir keeps; /var/lib/weir as root, else ~/.local/share/weir.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where applications are reached.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,
    /// Where applications are reached by TLS, or `off`; otherwise port 443 if it is free and --http has port 80.
    #[arg(long, value_name = "ADDRESS", value_parser = https)]
    https: Option<Https>,
    /// Where the API and git are reached.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    pub(crate) control: SocketAddr,
    /// What the addresses of applications end with: http://PROJECT.DOMAIN.
    #[arg(long, value_name = "DOMAIN", default_value = "localhost", value_parser = domain)]
    pub(crate) domain: String,
    /// `sqlite:PATH` or `postgres://…`; otherwise DIR/weir.db. Better given as WEIR_DATABASE where it holds a password.
    #[arg(long, value_name = "URL", env = DATABASE_VARIABLE, hide_env_values = true)]
    database: Option<String>,
    /// The mail server for notices: smtp://USER:PASSWORD@HOST:587?from=ADDRESS. Better given as WEIR_SMTP, because it holds a password.
    #[arg(long, value_name = "URL", env = SMTP_VARIABLE, hide_env_values = true)]
    smtp: Option<String>,
    /// Makes and removes records in DNS where a certificate needs them: PROGRAM present|cleanup NAME VALUE.
    #[arg(long, value_name = "PROGRAM")]
    dns_hook: Option<PathBuf>,
    /// Ports of the machine that services which speak TCP may have: FIRST-LAST. None are given out otherwise.
    #[arg(long, value_name = "PORTS", value_parser = port_range)]
    tcp_ports: Option<PortRange>,
    #[command(flatten)]
    bounds: Bounds,
    #[command(flatten)]
    pub(crate) protection: ProtectionOptions,
}

/// Whether the ingress speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Https {
    Off,
    At(SocketAddr),
}

fn https(text: &str) -> std::result::Result<Https, String> {
    if text == "off" {
        return Ok(Https::Off);
    }
    let address = text.parse().map(Https::At);
    address.map_err(|_| "that is neither an address like 0.0.0.0:443 nor `off`".to_owned())
}

/// Ports from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PortRange {
    first: u16,
    last: u16,
}

fn port_range(text: &str) -> std::result::Result<PortRange, String> {
    let ends = text.split_once('-');
    let ends = ends.and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    match ends {
        Some((first, last)) if 0 < first && first <= last => Ok(PortRange { first, last }),
        _ => Err("these are no ports; for example 20000-20999".to_owned()),
    }
}

/// What Weir may take of the machine.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Bounds")]
struct Bounds {
    /// How many builds run at once; otherwise one for every two cores.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrent_builds: Option<u16>,
    /// Most MiB kept of the logs of one app of one environment.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    log_mib: u32,
    /// Most MiB of the cache of builds.
    #[arg(long, value_name = "MIB", default_value_t = 10_240, value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    build_cache_mib: u32,
    /// Most MiB of memory for answers of apps that may be shared; 0 keeps none.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    cache_memory_mib: u32,
    /// Most room on disk for large answers of apps that may be shared, like 10GiB; 0 keeps them in memory
    /// only. Otherwise a twentieth of the disk, 10GiB at most.
    #[arg(long, value_name = "SIZE", value_parser = room)]
    cache_disk: Option<MemorySize>,
    /// How many releases of an environment keep their images.
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=1000))]
    releases_kept: u16,
    /// How many seconds the release before stays ready for a quick rollback.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    keep_previous_s: u32,
}

/// A size, or nothing at all.
fn room(text: &str) -> std::result::Result<MemorySize, String> {
    match text {
        "0" => Ok(MemorySize { bytes: 0 }),
        _ => text.parse(),
    }
}

fn domain(text: &str) -> std::result::Result<String, String> {
    let text = text.to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 180 && text.split('.').all(label) {
        Ok(text)
    } else {
        Err("that is no domain; for example apps.example.org".to_owned())
    }
}

impl PlatformOptions {
    /// The data folder, absolute.
    pub(crate) fn data(&self) -> Result<PathBuf> {
        let folder = data_folder(self.data.as_deref())?;
        if folder.to_str().is_none_or(|text| text.contains(char::is_control)) {
            return Err(Failure::usage("the path of the data folder must be plain text").hint("weir up --data DIR"));
        }
        Ok(folder)
    }

    /// Where the ingress speaks TLS; nowhere unless it was given or settled.
    pub(crate) fn https(&self) -> Option<SocketAddr> {
        match self.https {
            Some(Https::At(address)) => Some(address),
            Some(Https::Off) | None => None,
        }
    }

    /// Where the ingress speaks TLS was settled by the program before.
    pub(crate) fn https_is(&mut self, settled: Option<SocketAddr>) {
        self.https = Some(settled.map_or(Https::Off, Https::At));
    }

    /// Decides where the ingress speaks TLS, if nobody has said it: where browsers look for it, if
    /// that is where they look for HTTP, too.
    pub(crate) fn settle_https(&mut self, say: impl Fn(&str)) {
        if self.https.is_some() || self.http.port() != USUAL_HTTP {
            return;
        }
        let address = SocketAddr::new(self.http.ip(), USUAL_HTTPS);
        self.https = Some(match TcpListener::bind(address) {
            Ok(_) => Https::At(address),
            Err(error) => {
                say(&format!(
                    "applications are not reached by TLS, because {address} cannot be listened on ({error}); \
                     make it free, or choose another with --https ADDRESS"
                ));
                Https::Off
            }
        });
    }

    /// Bytes of memory for answers that may be shared.
    pub(crate) fn cache_bytes(&self) -> u64 {
        u64::from(self.bounds.cache_memory_mib) << 20
    }

    /// The folder for large answers that may be shared, and how many bytes they take there at most.
    pub(crate) fn cache_files(&self, data: &Path) -> (PathBuf, u64) {
        let folder = data.join("cache");
        let told = self.bounds.cache_disk.map(|room| room.bytes);
        let bytes = told.unwrap_or_else(|| weir_ingress::sane_share(&folder));
        (folder, bytes)
    }

    /// The command line of a part.
    pub(crate) fn arguments(&self) -> Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = vec!["--data".into(), self.data()?.into()];
        let bounds = &self.bounds;
        let mut add = |name: &str, value: String| arguments.extend([name.into(), value.into()]);
        add("--http", self.http.to_string());
        match self.https {
            Some(Https::At(address)) => add("--https", address.to_string()),
            Some(Https::Off) => add("--https", "off".to_owned()),
            None => {}
        }
        add("--control", self.control.to_string());
        add("--domain", self.domain.clone());
        if let Some(hook) = self.dns_hook()?.as_ref().and_then(|hook| hook.to_str()) {
            add("--dns-hook", hook.to_owned());
        }
        if let Some(PortRange { first, last }) = self.tcp_ports {
            add("--tcp-ports", format!("{first}-{last}"));
        }
        if let Some(number) = bounds.concurrent_builds {
            add("--concurrent-builds", number.to_string());
        }
        add("--log-mib", bounds.log_mib.to_string());
        add("--build-cache-mib", bounds.build_cache_mib.to_string());
        add("--cache-memory-mib", bounds.cache_memory_mib.to_string());
        if let Some(room) = bounds.cache_disk {
            add("--cache-disk", format!("{}B", room.bytes));
        }
        add("--releases-kept", bounds.releases_kept.to_string());
        add("--keep-previous-s", bounds.keep_previous_s.to_string());
        arguments.extend(self.protection.arguments());
        Ok(arguments)
    }

    /// The program that makes records in DNS, absolute.
    fn dns_hook(&self) -> Result<Option<PathBuf>> {
        let absolute = |hook: &PathBuf| std::path::absolute(hook).map_err(|error| Failure::file("find", hook, &error));
        self.dns_hook.as_ref().map(absolute).transpose()
    }

    /// Ports that services which speak TCP may have: none that Weir itself listens on.
    fn tcp_ports(&self) -> Result<Option<RangeInclusive<u16>>> {
        let Some(PortRange { first, last }) = self.tcp_ports else {
            return Ok(None);
        };
        let own = [
            ("--http", Some(self.http)),
            ("--https", self.https()),
            ("--control", Some(self.control)),
        ];
        for (option, address) in own {
            if let Some(port) = address
                .map(|address| address.port())
                .filter(|port| (first..=last).contains(port))
            {
                return Err(Failure::usage(format!(
                    "--tcp-ports {first}-{last} has the port {port} of {option} in it"
                ))
                .hint("take others, like --tcp-ports 20000-20999"));
            }
        }
        Ok(Some(first..=last))
    }

    /// The database as it is handed to a part, in its environment.
    pub(crate) fn database_variable(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// The mail server as it is handed to a part, in its environment.
    pub(crate) fn smtp_variable(&self) -> Option<&str> {
        self.smtp.as_deref()
    }

    /// Address of the API as clients on this machine reach it.
    pub(crate) fn url(&self) -> String {
        let mut address = self.control;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("http://{address}")
    }

    /// What control is to know.
    pub(crate) fn config(&self) -> Result<weir_control::Config> {
        let data = self.data()?;
        let executable = executable()
            .map_err(|error| Failure::failed("cannot find the path of weir itself").detail(error.to_string()))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let bounds = &self.bounds;
        Ok(weir_control::Config {
            database: self
                .database
                .clone()
                .unwrap_or_else(|| format!("sqlite:{}", data.join("weir.db").display())),
            control: self.control,
            http: self.http,
            https: self.https(),
            domain: self.domain.clone(),
            ca_bundle: ca_bundle(),
            executable,
            concurrent_builds: bounds.concurrent_builds.map_or((cores / 2).max(1), usize::from),
            log_bytes_per_app: u64::from(bounds.log_mib) << 20,
            build_cache_bytes: u64::from(bounds.build_cache_mib) << 20,
            disk_reserve_bytes: DISK_RESERVE_BYTES,
            releases_kept: i64::from(bounds.releases_kept),
            keep_previous_s: bounds.keep_previous_s,
            dns_hook: self.dns_hook()?,
            tcp_ports: self.tcp_ports()?,
            trusted_proxies: self.protection.trusted_proxies().to_vec(),
            proxy_header: self.protection.proxy_header(),
            smtp: self.smtp.clone().map(weir_control::secrets::Secret::new),
            data,
        })
    }
}

/// The data folder that is meant, absolute.
pub(crate) fn data_folder(given: Option<&Path>) -> Result<PathBuf> {
    let folder = match given {
        Some(folder) => folder.to_owned(),
        None => credentials::default_data_folder()?,
    };
    std::path::absolute(&folder).map_err(|error| Failure::file("find", &folder, &error))
}

/// The machine's own bundle of certificate authorities.
fn ca_bundle() -> Option<PathBuf> {
    let named = credentials::variable("SSL_CERT_FILE").map(PathBuf::from);
    let usual = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
    ]
    .map(PathBuf::from);
    named.into_iter().chain(usual).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_at_an_address_or_off() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8443));
        assert_eq!(https("127.0.0.1:8443"), Ok(Https::At(address)));
        assert_eq!(https("off"), Ok(Https::Off));
        for wrong in ["", "on", "443", ":443", "localhost"] {
            assert!(https(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn ports_are_from_the_first_to_the_last() {
        let ports = PortRange {
            first: 20_000,
            last: 20_999,
        };
        assert_eq!(port_range("20000-20999"), Ok(ports));
        for wrong in ["", "20000", "20999-20000", "0-5", "1-70000", "a-b"] {
            assert!(port_range(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn domains_are_checked() {
        assert_eq!(domain("Apps.Example.org"), Ok("apps.example.org".to_owned()));
        for wrong in ["", ".", "a..b", "-a.b", "a b", "http://a"] {
            assert!(domain(wrong).is_err(), "{wrong} was accepted");
        }
    }
}
