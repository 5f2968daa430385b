//! `[[tcp]]` of `weir.toml`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::protection::{check_networks, networks};
use super::reader::Findings;
use super::spec::check_span;
use super::types::AppFile;
use super::values::Duration;
use crate::spec::{ProcessSpec, RouteSpec};
use crate::tcp::{TcpListen, TcpSpec, TcpTls, USUAL_CONNECTIONS};
use crate::{AppName, ProcessName, TcpServiceName};

/// Most services of an app.
const MANY: usize = 32;
/// Longest silence that may be asked for, in seconds.
const LONGEST_IDLE_S: u32 = 7 * 24 * 3600;
const WANTED: &str = "`true`, `false`, \"end\" or \"passthrough\"";

/// A service that speaks TCP and not HTTP.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpFile {
    /// What it is called; unique in the app.
    pub name: String,
    /// The process that answers.
    pub process: String,
    /// The port that the process listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The port of the machine at which it is reached, out of those of `weir up --tcp-ports`. If absent: one that Weir gives it and that stays; none with `tls`.
    #[schemars(range(min = 1, max = 65535))]
    pub listen: Option<u16>,
    /// Whether it is reached by TLS at the https port, by the names of `weir domain add NAME --tcp SERVICE`: `true` or "end" (Weir has the certificate, the app gets what is inside), "passthrough" (the app has the certificate). `false` if absent.
    pub tls: Option<TcpTlsFile>,
    /// How many connections are open at once; 1000 if absent.
    #[schemars(range(min = 1, max = 100_000))]
    pub connections: Option<u32>,
    /// A connection on which nothing moves for so long is closed; never if absent.
    pub idle: Option<Duration>,
    /// Whether each connection begins with a line of the PROXY protocol (version 1), by which the app learns the client's address; `false` if absent.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Addresses and networks that may pass, like `["10.0.0.0/8"]`; everybody if absent.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Addresses and networks that may not pass.
    #[serde(default)]
    pub deny: Vec<String>,
}

/// Who ends the TLS: `true`, `false`, `"end"` or `"passthrough"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpTlsFile {
    /// As it is meant.
    pub tls: Option<TcpTls>,
}

impl<'de> Deserialize<'de> for TcpTlsFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Word)
    }
}

struct Word;

impl Visitor<'_> for Word {
    type Value = TcpTlsFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WANTED)
    }

    fn visit_bool<E: Error>(self, switched_on: bool) -> Result<TcpTlsFile, E> {
        Ok(TcpTlsFile {
            tls: switched_on.then_some(TcpTls::End),
        })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TcpTlsFile, E> {
        let tls = match text {
            "end" => TcpTls::End,
            "passthrough" => TcpTls::Passthrough,
            _ => return Err(E::custom(format!("`tls` is {WANTED}"))),
        };
        Ok(TcpTlsFile { tls: Some(tls) })
    }
}

impl JsonSchema for TcpTlsFile {
    fn schema_name() -> Cow<'static, str> {
        "TcpTlsFile".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "format": "weir-tls", "enum": [true, false, "end", "passthrough"] })
    }
}

impl TcpFile {
    /// None where a name cannot be one, which was told.
    pub(super) fn spec(&self) -> Option<TcpSpec> {
        let tls = self.tls.and_then(|file| file.tls);
        Some(TcpSpec {
            name: TcpServiceName::new(&self.name).ok()?,
            process: ProcessName::new(&self.process).ok()?,
            port: self.port,
            listen: match (self.listen, tls) {
                (Some(port), _) => TcpListen::Port(port),
                (None, Some(_)) => TcpListen::Nowhere,
                (None, None) => TcpListen::Any,
            },
            tls,
            connections: self.connections.unwrap_or(USUAL_CONNECTIONS),
            idle_s: self.idle.map(|idle| idle.seconds),
            proxy_protocol: self.proxy_protocol,
            allow: networks(&self.allow),
            deny: networks(&self.deny),
        })
    }
}

/// Checks that go beyond keys and types.
pub(super) fn check(app: &AppFile, at: &str, findings: &mut Findings) {
    if app.tcp.len() > MANY {
        findings.at(
            &format!("{at}tcp"),
            format!("`{at}tcp` has too many entries; at most {MANY} are allowed"),
        );
    }
    let (mut names, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for (number, service) in app.tcp.iter().enumerate() {
        let at = format!("{at}tcp.{}", number + 1);
        if let Err(error) = TcpServiceName::new(&service.name) {
            findings.at(&format!("{at}.name"), error.to_string());
        } else if !names.insert(&service.name) {
            findings.at(
                &format!("{at}.name"),
                format!(
                    "there are two services `{}`; give one of them another name",
                    service.name
                ),
            );
        }
        if let Err(error) = ProcessName::new(&service.process) {
            findings.at(&format!("{at}.process"), error.to_string());
        }
        if let Some(port) = service.listen.filter(|port| !ports.insert(*port)) {
            findings.at(
                &format!("{at}.listen"),
                format!("two services listen on port {port}; give one of them another one"),
            );
        }
        check_span(service.idle, 1, LONGEST_IDLE_S, &format!("{at}.idle"), findings);
        check_networks(&service.allow, &format!("{at}.allow"), findings);
        check_networks(&service.deny, &format!("{at}.deny"), findings);
    }
}

/// The services of an app, and what does not fit to its processes, in lines for people.
pub(super) fn specs(
    name: &AppName,
    app: &AppFile,
    processes: &BTreeMap<ProcessName, ProcessSpec>,
    problems: &mut Vec<String>,
) -> Vec<TcpSpec> {
    let services: Vec<TcpSpec> = app.tcp.iter().filter_map(TcpFile::spec).collect();
    for service in services
        .iter()
        .filter(|service| !processes.contains_key(&service.process))
    {
        let known: Vec<&str> = processes.keys().map(ProcessName::as_str).collect();
        problems.push(format!(
            "app `{name}`: the TCP service `{}` leads to the process `{}`, which does not exist; there is: {}",
            service.name,
            service.process,
            known.join(", ")
        ));
    }
    services
}

/// A process that is reached by TCP only listens on the port of its first service, and is checked
/// by connecting to it, unless the file says otherwise.
pub(super) fn settle(
    app: &AppFile,
    services: &[TcpSpec],
    routes: &[RouteSpec],
    processes: &mut BTreeMap<ProcessName, ProcessSpec>,
) {
    for (name, process) in processes {
        let speaks_http = name.is_web() || routes.iter().any(|route| route.process == *name);
        let first = services.iter().find(|service| service.process == *name);
        let (Some(service), false) = (first, speaks_http) else {
            continue;
        };
        let file = app.process.get(name.as_str());
        if file.is_none_or(|file| file.port.is_none()) {
            process.port = service.port;
        }
        process.check.tcp = process.check.path.is_none();
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::Detected;
    use super::super::types::ProjectFile;
    use super::*;
    use crate::spec::AppSpec;

    fn spec(text: &str) -> Result<AppSpec, String> {
        let file = ProjectFile::parse(text).map_err(|problems| problems.to_string())?;
        let app = AppName::new("shop").unwrap();
        let detected = Detected {
            commands: [(ProcessName::web(), None)].into(),
            port: Some(3000),
        };
        let spec = file.apps(&app).remove(&app).unwrap().spec(app, &detected);
        spec.map_err(|problems| problems.join("\n"))
    }

    const DB: &str = "[process.db]\ncommand = \"postgres\"\n[[tcp]]\nname = \"db\"\nprocess = \"db\"\nport = 5432\n";

    #[test]
    fn a_service_gets_a_port_and_its_process_needs_no_http() {
        let spec = spec(DB).unwrap();
        let service = &spec.tcp[0];
        assert_eq!(
            (service.port, service.listen, service.tls),
            (5432, TcpListen::Any, None)
        );
        assert_eq!((service.connections, service.idle_s), (USUAL_CONNECTIONS, None));
        let process = &spec.processes[&service.process];
        assert_eq!((process.port, process.check.tcp), (5432, true));
        assert!(spec.is_routed(&service.process));
        let web = &spec.processes[&ProcessName::web()];
        assert_eq!((web.port, web.check.tcp), (3000, false));
    }

    #[test]
    fn what_it_says_is_read() {
        let more = "listen = 15432\ntls = \"passthrough\"\nconnections = 5\nidle = \"10m\"\nproxy_protocol = true\n\
                    allow = [\"10.0.0.0/8\"]\ndeny = [\"10.6.6.6\"]\n";
        let service = spec(&format!("{DB}{more}")).unwrap().tcp.remove(0);
        assert_eq!(
            (service.listen, service.tls),
            (TcpListen::Port(15432), Some(TcpTls::Passthrough))
        );
        assert_eq!(
            (service.connections, service.idle_s, service.proxy_protocol),
            (5, Some(600), true)
        );
        assert_eq!((service.allow.len(), service.deny.len()), (1, 1));
        let tls = |word: &str| {
            let service = spec(&format!("{DB}tls = {word}\n")).unwrap().tcp.remove(0);
            (service.listen, service.tls)
        };
        assert_eq!(tls("true"), (TcpListen::Nowhere, Some(TcpTls::End)));
        assert_eq!(tls("\"end\""), (TcpListen::Nowhere, Some(TcpTls::End)));
        assert_eq!(tls("false"), (TcpListen::Any, None));
    }

    #[test]
    fn a_process_that_speaks_http_too_is_checked_by_http() {
        let text = "[[tcp]]\nname = \"raw\"\nprocess = \"web\"\nport = 9000\n";
        let spec = spec(text).unwrap();
        let web = &spec.processes[&ProcessName::web()];
        assert_eq!((web.port, web.check.tcp), (3000, false));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let refused = |text: &str, words: &str| {
            let told = spec(text).unwrap_err();
            assert!(told.contains(words), "{told}");
        };
        refused(
            &DB.replace("process = \"db\"", "process = \"sql\""),
            "`sql`, which does not exist; there is: db, web",
        );
        refused(&format!("{DB}tls = \"maybe\"\n"), "passthrough");
        refused(&format!("{DB}tls = 1\n"), "passthrough");
        refused(&format!("{DB}idle = \"0s\"\n"), "`idle` must be from 1s");
        refused(&format!("{DB}allow = [\"office\"]\n"), "names of hosts cannot be used");
        refused(&format!("{DB}connections = 0\n"), "connections");
        refused(&format!("{DB}prot = 1\n"), "prot");
        let again = "[[tcp]]\nname = \"db\"\nprocess = \"db\"\nport = 5433\n";
        refused(&format!("{DB}{again}"), "two services `db`");
        let both = DB.replace("5432", "5432\nlisten = 15432");
        let other = "[[tcp]]\nname = \"sql\"\nprocess = \"db\"\nport = 5432\nlisten = 15432\n";
        refused(&format!("{both}{other}"), "two services listen on port 15432");
        refused("[[tcp]]\nname = \"Db\"\nprocess = \"web\"\nport = 1\n", "only a-z");
    }
}
