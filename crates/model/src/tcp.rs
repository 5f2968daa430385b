//! Services that speak TCP and not HTTP: a database, a mail server, a game. They are reached at a
//! port of their own, or at the https port by the name that a client gives in its TLS handshake.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protection::Network;
use crate::route::Route;
use crate::{AppName, EnvironmentId, ProcessName, TcpServiceName};

/// Open connections of a service at once, unless it says otherwise.
pub const USUAL_CONNECTIONS: u32 = 1_000;
/// Most open connections that a service may ask for.
pub const MOST_CONNECTIONS: u32 = 100_000;

/// A service of an app, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpSpec {
    /// Unique in the app.
    pub name: TcpServiceName,
    /// Whose instances answer.
    pub process: ProcessName,
    /// The port that they listen on.
    pub port: u16,
    /// At which port of the machine it is reached.
    #[serde(default)]
    pub listen: TcpListen,
    /// How it is reached by the names of domains at the https port, if it is.
    #[serde(default)]
    pub tls: Option<TcpTls>,
    /// How many connections are open at once; further ones are closed at once.
    #[serde(default = "usual_connections")]
    pub connections: u32,
    /// A connection on which nothing moves for so many seconds is closed; none: never.
    #[serde(default)]
    pub idle_s: Option<u32>,
    /// Whether each connection to an instance begins with the client's address, as version 1 of the
    /// PROXY protocol writes it.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Only these clients pass, if there are any.
    #[serde(default)]
    pub allow: Vec<Network>,
    /// These clients do not pass.
    #[serde(default)]
    pub deny: Vec<Network>,
}

fn usual_connections() -> u32 {
    USUAL_CONNECTIONS
}

/// At which port of the machine a service is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TcpListen {
    /// At one that Weir gives it, the same over deploys.
    #[default]
    Any,
    /// At this one.
    Port(u16),
    /// At none: only by name at the https port.
    Nowhere,
}

/// Who ends the TLS of clients that come by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TcpTls {
    /// Weir, with the certificate of the domain; the app gets what is inside.
    End,
    /// The app, with a certificate of its own; it gets everything as it comes.
    Passthrough,
}

/// A service as nodes serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpRoute {
    /// The environment that owns it.
    pub environment: EnvironmentId,
    /// `project` or `project (environment)`, for the log.
    pub title: String,
    /// The app.
    pub app: AppName,
    /// What it is, except for `listen`, which is a wish.
    pub spec: TcpSpec,
    /// The port of the machine at which it is reached; none: only by name.
    pub listen: Option<u16>,
    /// The names at the https port that lead to it, lower case.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Which instances answer, and what happens to a connection now. The port of their addresses is
    /// not that of the service.
    pub route: Route,
}

/// The path prefix of a service's route; no path begins like this.
pub fn path_prefix(service: &TcpServiceName) -> String {
    format!("tcp:{service}")
}

/// Ports that were given to the services of an environment, by app and service.
pub type TcpPorts = BTreeMap<(AppName, TcpServiceName), u16>;

impl TcpSpec {
    /// The port at which it is reached: the one that it names, or the one that was given to it.
    pub fn listens(&self, app: &AppName, given: &TcpPorts) -> Option<u16> {
        match self.listen {
            TcpListen::Any => given.get(&(app.clone(), self.name.clone())).copied(),
            TcpListen::Port(port) => Some(port),
            TcpListen::Nowhere => None,
        }
    }
}
