//! Name lookups at the gateways: private names of the network's own apps lead to the instances
//! that serve, public names of this Weir lead to the ingress, everything else is asked of the
//! machine's own resolvers. That carries bytes out into the world, in names and in answers, so
//! the environment pays for them like for all else that it sends past the proxy.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use weir_ledger::Sku;
use weir_ledger::wallet::{Draw, Urgency};

use crate::node::Shared;
use crate::{pay, sleep};

/// How long an answer of ours may be remembered, in seconds: names come and go.
const TTL_SECONDS: u32 = 1;
/// So many addresses at most go into one answer, which then fits a datagram.
const MOST_ANSWERS: usize = 16;
/// Lookups at once; further ones are dropped, and asked again by who asked.
const LOOKUPS_AT_ONCE: usize = 256;
/// Largest datagram that is understood.
const DATAGRAM_BYTES: usize = 4_096;
/// Largest message over a stream.
const STREAM_BYTES: usize = 65_535;
/// Longest wait for money: whoever asks has given up soon after.
const MONEY_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for an app that sleeps: resolvers ask again after five seconds.
const WAKE_TIMEOUT: Duration = Duration::from_millis(4_500);
/// Of the wallets, where lookups draw; they are few.
const SHARD: usize = 0;
/// How long a resolver has before the next one is asked.
const RESOLVER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an asker may keep a connection open without asking.
const STREAM_IDLE: Duration = Duration::from_secs(10);
/// How long the list of resolvers is believed.
const RESOLVERS_AGE: Duration = Duration::from_secs(10);

/// What lookups need.
#[derive(Debug)]
pub(crate) struct Lookups {
    shared: Arc<Shared>,
    resolv_conf: PathBuf,
    resolvers: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
    permits: Arc<Semaphore>,
}

/// What to do about a query.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// Send this.
    Reply(Vec<u8>),
    /// Ask the machine's resolvers.
    Forward,
    /// It is not a query.
    Ignore,
}

/// Over what a query came.
#[derive(Debug, Clone, Copy)]
enum Transport {
    Datagram,
    Stream,
}

/// There is no money for a lookup.
#[derive(Debug)]
struct Unpaid;

impl Transport {
    /// Of a message.
    fn most_bytes(self) -> usize {
        match self {
            Self::Datagram => DATAGRAM_BYTES,
            Self::Stream => STREAM_BYTES,
        }
    }
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl Lookups {
    pub(crate) fn new(shared: Arc<Shared>, resolv_conf: PathBuf) -> Self {
        Self {
            shared,
            resolv_conf,
            resolvers: Mutex::new(None),
            permits: Arc::new(Semaphore::new(LOOKUPS_AT_ONCE)),
        }
    }

    /// The reply to a query; none if it deserves none.
    async fn reply(&self, query: &[u8], gateway: IpAddr, transport: Transport) -> Option<Vec<u8>> {
        let mut decision = sleep::look_up(&self.shared, gateway, |addresses| decide(query, addresses));
        if let (_, Some(asked)) = &decision {
            // A name of an app that sleeps: the answer waits for it.
            if !asked.until_awake(&self.shared, WAKE_TIMEOUT).await {
                return refusal(query, RCODE::ServerFailure);
            }
            decision = sleep::look_up(&self.shared, gateway, |addresses| decide(query, addresses));
        }
        let decision = decision.0;
        match decision {
            Decision::Reply(reply) => Some(reply),
            Decision::Ignore => None,
            Decision::Forward => match self.draw(query, gateway, transport).await {
                Ok(paid) => self.ask(query, transport, paid).await,
                // The cap is reached; asking again later may help.
                Err(Unpaid) => refusal(query, RCODE::Refused),
            },
        }
    }

    /// Draws for a query and the largest answer to it; nothing where nobody is charged.
    async fn draw(&self, query: &[u8], gateway: IpAddr, transport: Transport) -> Result<Option<Draw>, Unpaid> {
        let environment = self.shared.table.load().environment_at(gateway);
        let (Some(spending), Some(environment)) = (&self.shared.spending, environment) else {
            return Ok(None);
        };
        let till = spending.wallets.till(environment, None, None);
        let most = bytes(query.len() + transport.most_bytes());
        let draw = || till.draw(SHARD, Urgency::Request, &Sku::EGRESS, most);
        if let Ok(draw) = draw() {
            return Ok(Some(draw));
        }
        let waited = pay::until_drawn(&till, &Sku::EGRESS, most, MONEY_TIMEOUT, draw).await;
        waited.map(Some).map_err(|_reason| Unpaid)
    }

    /// Asks the machine's resolvers, and charges what went out and what came back.
    async fn ask(&self, query: &[u8], transport: Transport, paid: Option<Draw>) -> Option<Vec<u8>> {
        let answer = self.forward(query, transport).await;
        if let Some(paid) = paid {
            paid.finish(bytes(query.len() + answer.as_ref().map_or(0, Vec::len)));
        }
        match answer {
            Some(answer) => Some(answer),
            None => refusal(query, RCODE::ServerFailure),
        }
    }

    async fn forward(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        for resolver in self.resolvers() {
            let asked = async {
                match transport {
                    Transport::Datagram => ask_by_datagram(resolver, query).await,
                    Transport::Stream => ask_by_stream(resolver, query).await,
                }
            };
            match tokio::time::timeout(RESOLVER_TIMEOUT, asked).await {
                Ok(Ok(reply)) => return Some(reply),
                Ok(Err(error)) => tracing::debug!(%resolver, %error, "a resolver failed"),
                Err(_) => tracing::debug!(%resolver, "a resolver did not answer in time"),
            }
        }
        None
    }

    /// The machine's resolvers, without our own gateways: that would be a circle.
    fn resolvers(&self) -> Vec<SocketAddr> {
        let mut known = self.resolvers.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.as_ref().filter(|(read, _)| read.elapsed() < RESOLVERS_AGE);
        if let Some((_, resolvers)) = fresh {
            return resolvers.clone();
        }
        let gateways = Arc::clone(&self.shared.table.load().gateways);
        let mut resolvers = read_resolvers(&self.resolv_conf);
        resolvers.retain(|resolver| !gateways.contains(&resolver.ip()));
        *known = Some((Instant::now(), resolvers.clone()));
        resolvers
    }
}

/// Answers datagrams until closed.
pub(crate) async fn serve_datagrams(
    lookups: Arc<Lookups>,
    socket: UdpSocket,
    gateway: IpAddr,
    closed: CancellationToken,
) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let received = tokio::select! {
            biased;
            () = closed.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        let (length, asker) = match received {
            Ok(received) => received,
            Err(error) => {
                // For instance that an earlier asker is gone; the socket still works.
                tracing::debug!(%error, "cannot receive a lookup");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&lookups.permits).try_acquire_owned() else {
            continue;
        };
        let query = buffer[..length].to_vec();
        let (lookups, socket) = (Arc::clone(&lookups), Arc::clone(&socket));
        tokio::spawn(async move {
            if let Some(reply) = lookups.reply(&query, gateway, Transport::Datagram).await
                && let Err(error) = socket.send_to(&reply, asker).await
            {
                tracing::debug!(%asker, %error, "cannot send the reply to a lookup");
            }
            drop(permit);
        });
    }
}

/// Answers connections until closed.
pub(crate) async fn serve_streams(
    lookups: Arc<Lookups>,
    listener: TcpListener,
    gateway: IpAddr,
    closed: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = closed.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((mut stream, asker)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&lookups.permits).try_acquire_owned() else {
            continue;
        };
        let (lookups, closed) = (Arc::clone(&lookups), closed.clone());
        tokio::spawn(async move {
            let work = async {
                while let Ok(query) = tokio::time::timeout(STREAM_IDLE, read_message(&mut stream)).await {
                    let Some(reply) = lookups.reply(&query?, gateway, Transport::Stream).await else {
                        break;
                    };
                    write_message(&mut stream, &reply).await?;
                }
                Ok::<(), io::Error>(())
            };
            tokio::select! {
                () = closed.cancelled() => {}
                ended = work => if let Err(error) = ended {
                    tracing::debug!(%asker, %error, "a connection for lookups ended");
                },
            }
            drop(permit);
        });
    }
}

/// Pure: what to do about a query.
fn decide(query: &[u8], addresses_of: impl Fn(&str) -> Option<Vec<IpAddr>>) -> Decision {
    let Ok(packet) = Packet::parse(query) else {
        return Decision::Ignore;
    };
    if packet.has_flags(PacketFlag::RESPONSE) {
        return Decision::Ignore;
    }
    let [question] = packet.questions.as_slice() else {
        return refusal(query, RCODE::FormatError).map_or(Decision::Ignore, Decision::Reply);
    };
    let name = question.qname.to_string().to_ascii_lowercase();
    let Some(addresses) = addresses_of(name.trim_end_matches('.')) else {
        return Decision::Forward;
    };
    let mut reply = reply_to(&packet);
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    let asks_for = |kind| question.qtype == QTYPE::TYPE(kind) || question.qtype == QTYPE::ANY;
    // Any other kind of record is an empty answer: the name exists, so nobody else is asked.
    let records = addresses.into_iter().filter_map(|address| match address {
        IpAddr::V4(address) if asks_for(TYPE::A) => Some(RData::A(A::from(address))),
        IpAddr::V6(address) if asks_for(TYPE::AAAA) => Some(RData::AAAA(address.into())),
        _ => None,
    });
    for data in records.take(MOST_ANSWERS) {
        let record = ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL_SECONDS, data);
        reply.answers.push(record);
    }
    reply
        .build_bytes_vec_compressed()
        .map_or(Decision::Ignore, Decision::Reply)
}

/// The reply to a query that has one here.
#[cfg(any(test, fuzzing))]
pub(crate) fn decided(query: &[u8], addresses_of: impl Fn(&str) -> Option<Vec<IpAddr>>) -> Option<Vec<u8>> {
    match decide(query, addresses_of) {
        Decision::Reply(reply) => Some(reply),
        Decision::Ignore | Decision::Forward => None,
    }
}

/// An empty reply with the question in it.
fn reply_to<'a>(query: &Packet<'a>) -> Packet<'a> {
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    reply.questions.clone_from(&query.questions);
    reply
}

fn refusal(query: &[u8], code: RCODE) -> Option<Vec<u8>> {
    let packet = Packet::parse(query).ok()?;
    let mut reply = reply_to(&packet);
    *reply.rcode_mut() = code;
    reply.build_bytes_vec_compressed().ok()
}

/// A new socket, and so a new port, for each query: an answer cannot be guessed into it.
async fn ask_by_datagram(resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match resolver {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(query).await?;
    let mut reply = vec![0; DATAGRAM_BYTES];
    loop {
        let length = socket.recv(&mut reply).await?;
        // The identity of the query is its first two bytes.
        if length >= 12 && reply[..2] == query[..2] {
            reply.truncate(length);
            return Ok(reply);
        }
    }
}

async fn ask_by_stream(resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    write_message(&mut stream, query).await?;
    read_message(&mut stream).await
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

fn read_resolvers(path: &Path) -> Vec<SocketAddr> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse_resolvers(&text),
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "cannot read the machine's resolvers");
            Vec::new()
        }
    }
}

/// The `nameserver` lines. A port after `#` is understood for tests and odd set-ups.
fn parse_resolvers(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next())
        .filter_map(|word| {
            let (address, port) = word.split_once('#').unwrap_or((word, "53"));
            let address = address.split('%').next().unwrap_or(address);
            Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use simple_dns::{Name, QCLASS, Question};

    use super::*;

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(77);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        packet.questions.push(Question::new(
            Name::new(name).unwrap(),
            QTYPE::TYPE(kind),
            QCLASS::CLASS(CLASS::IN),
            false,
        ));
        packet.build_bytes_vec().unwrap()
    }

    fn decided(name: &str, kind: TYPE) -> Decision {
        decide(&query(name, kind), |name| {
            (name == "shop.localhost").then(|| vec![[172, 20, 0, 1].into()])
        })
    }

    #[test]
    fn our_names_lead_to_the_gateway() {
        let Decision::Reply(reply) = decided("Shop.Localhost", TYPE::A) else {
            panic!("no reply")
        };
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!((reply.id(), reply.rcode()), (77, RCODE::NoError));
        assert_eq!(reply.answers[0].rdata, RData::A(Ipv4Addr::new(172, 20, 0, 1).into()));
        assert_eq!(reply.questions.len(), 1);
    }

    #[test]
    fn other_kinds_of_our_names_are_empty_and_other_names_forwarded() {
        let Decision::Reply(reply) = decided("shop.localhost", TYPE::AAAA) else {
            panic!("no reply")
        };
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!((reply.rcode(), reply.answers.len()), (RCODE::NoError, 0));
        assert_eq!(decided("example.org", TYPE::A), Decision::Forward);
    }

    #[test]
    fn noise_is_ignored() {
        for noise in [&b""[..], b"abc", &[0xff; 600]] {
            assert_eq!(decide(noise, |_| Some(vec![[127, 0, 0, 1].into()])), Decision::Ignore);
        }
    }

    #[test]
    fn resolvers_are_read_from_the_usual_file() {
        let text = "# a comment\nsearch a b\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\n nameserver 127.0.0.1#5353\nnameserver x\n";
        let expected: Vec<SocketAddr> = ["10.0.0.1:53", "[fe80::1]:53", "127.0.0.1:5353"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        assert_eq!(parse_resolvers(text), expected);
    }
}
