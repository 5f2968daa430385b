//! What `weir up` is told about who reaches the ingress, and how.

use std::ffi::OsString;
use std::time::Duration;

use weir_ingress::{LeastPace, NodeConfig, ProxyHeader};
use weir_model::protection::Network;

/// Bounds of clients, and whom to believe.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Clients")]
pub(crate) struct ProtectionOptions {
    /// Networks of load balancers that begin each connection with the PROXY protocol: 10.0.0.0/8,192.0.2.7.
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    proxy_protocol_from: Vec<Network>,
    /// Networks of proxies before applications or the console that are believed about for whom they speak.
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    trusted_proxies: Vec<Network>,
    /// In which headers trusted proxies say for whom they speak; the others are not believed.
    #[arg(long, value_name = "HEADER", value_enum, default_value_t = HeaderOfProxy::Either)]
    proxy_header: HeaderOfProxy,
    /// Most connections of one client address (of a network of 64 bits with IPv6); 0: no bound.
    #[arg(long, value_name = "NUMBER", default_value_t = 2_000)]
    connections_per_address: u32,
    /// Most connections of clients in all; those idle for longest make room for others. 0: no bound.
    #[arg(long, value_name = "NUMBER", default_value_t = 50_000)]
    connections: u32,
    /// Largest head of a request, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1024..=1_048_576))]
    header_bytes: u32,
    /// Most fields in the head of a request.
    #[arg(long, value_name = "NUMBER", default_value_t = 96, value_parser = clap::value_parser!(u32).range(20..=1000))]
    headers: u32,
    /// Longest path and query of a request, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 32_768, value_parser = clap::value_parser!(u32).range(256..=65_000))]
    target_bytes: u32,
    /// How many seconds the head of a request may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    header_timeout_s: u32,
    /// How many seconds a connection may be idle between two requests.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    keep_alive_s: u32,
    /// Clients that send a body, or take an answer, with fewer bytes a second are cut off; 0: never.
    #[arg(long, value_name = "BYTES", default_value_t = 240)]
    least_bytes_per_s: u32,
}

/// As [`ProxyHeader`], on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum HeaderOfProxy {
    /// Whichever is there; requests in which the two name different clients are refused.
    Either,
    /// X-Forwarded-For and X-Forwarded-Proto.
    XForwardedFor,
    /// Forwarded (RFC 7239).
    Forwarded,
}

impl HeaderOfProxy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Either => "either",
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

impl From<HeaderOfProxy> for ProxyHeader {
    fn from(header: HeaderOfProxy) -> Self {
        match header {
            HeaderOfProxy::Either => Self::Either,
            HeaderOfProxy::XForwardedFor => Self::XForwardedFor,
            HeaderOfProxy::Forwarded => Self::Forwarded,
        }
    }
}

impl ProtectionOptions {
    /// The command line of a part.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let list = |networks: &[Network]| networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let lists = [
            ("--proxy-protocol-from", list(&self.proxy_protocol_from)),
            ("--trusted-proxies", list(&self.trusted_proxies)),
            ("--proxy-header", self.proxy_header.as_str().to_owned()),
        ];
        let numbers = [
            ("--connections-per-address", self.connections_per_address),
            ("--connections", self.connections),
            ("--header-bytes", self.header_bytes),
            ("--headers", self.headers),
            ("--target-bytes", self.target_bytes),
            ("--header-timeout-s", self.header_timeout_s),
            ("--keep-alive-s", self.keep_alive_s),
            ("--least-bytes-per-s", self.least_bytes_per_s),
        ];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let numbers = numbers.map(|(name, number)| (name, number.to_string()));
        lists
            .chain(numbers)
            .flat_map(|(name, value)| [name.into(), value.into()])
            .collect()
    }

    /// Networks of proxies that are believed about for whom they speak.
    pub(crate) fn trusted_proxies(&self) -> &[Network] {
        &self.trusted_proxies
    }

    /// In which headers they say it.
    pub(crate) fn proxy_header(&self) -> ProxyHeader {
        self.proxy_header.into()
    }

    /// Tells a node.
    pub(crate) fn apply(&self, node: &mut NodeConfig) {
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let networks = |networks: &[Network]| networks.iter().map(|network| network.0).collect();
        let pace = |pace: LeastPace| LeastPace {
            bytes_per_s: self.least_bytes_per_s.into(),
            ..pace
        };
        node.proxy_protocol_from = networks(&self.proxy_protocol_from);
        node.trusted_proxies = networks(&self.trusted_proxies);
        node.proxy_header = self.proxy_header.into();
        let limits = &mut node.limits;
        limits.connections_per_address = number(self.connections_per_address);
        limits.connections = number(self.connections);
        limits.header_bytes = number(self.header_bytes);
        limits.headers = number(self.headers);
        limits.target_bytes = number(self.target_bytes);
        limits.header_read_timeout = Duration::from_secs(self.header_timeout_s.into());
        limits.keep_alive_timeout = Duration::from_secs(self.keep_alive_s.into());
        (limits.body_pace, limits.answer_pace) = (pace(limits.body_pace), pace(limits.answer_pace));
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: ProtectionOptions,
    }

    fn node() -> NodeConfig {
        NodeConfig::new(([127, 0, 0, 1], 0).into(), PathBuf::new(), PathBuf::new())
    }

    #[test]
    fn what_is_told_reaches_the_node_and_the_rest_stays() {
        let (mut told, usual) = (node(), node());
        Line::parse_from(["weir"]).options.apply(&mut told);
        assert_eq!(format!("{:?}", told.limits), format!("{:?}", usual.limits));
        let words = "weir --proxy-protocol-from 10.0.0.0/8,::1 --trusted-proxies 192.0.2.7 --connections 7 \
                     --connections-per-address 3 --header-bytes 2048 --headers 30 --target-bytes 300 \
                     --header-timeout-s 4 --keep-alive-s 5 --least-bytes-per-s 6 --proxy-header forwarded";
        let line = Line::parse_from(words.split_whitespace());
        let passed_on = [vec!["weir".into()], line.options.arguments()].concat();
        Line::parse_from(passed_on).options.apply(&mut told);
        assert_eq!((told.proxy_protocol_from.len(), told.trusted_proxies.len()), (2, 1));
        assert_eq!(told.proxy_header, ProxyHeader::Forwarded);
        let limits = &told.limits;
        assert_eq!((limits.connections, limits.connections_per_address), (7, 3));
        assert_eq!(
            (limits.header_bytes, limits.headers, limits.target_bytes),
            (2048, 30, 300)
        );
        assert_eq!((limits.body_pace.bytes_per_s, limits.answer_pace.bytes_per_s), (6, 6));
        assert_eq!(
            limits.header_read_timeout + limits.keep_alive_timeout,
            Duration::from_secs(9)
        );
        let wrong = Line::try_parse_from(["weir", "--trusted-proxies", "lb.example"]).unwrap_err();
        assert!(wrong.to_string().contains("names of hosts cannot be used"), "{wrong}");
    }
}
