//! Talks to name servers: makes and removes records by signed updates (RFC 2136, RFC 8945), and
//! looks names up at a given server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::op::{Message, Query, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordSet, RecordType, TSigner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use weir_model::UnixMillis;

use crate::secrets::Secret;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Clocks may differ by so much, in seconds.
const FUDGE_S: u16 = 300;
const TTL_S: u32 = 60;

/// A zone that takes updates, with the key for them.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) server: SocketAddr,
    pub(super) zone: String,
    pub(super) key_name: String,
    pub(super) algorithm: String,
    pub(super) key: Secret,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Add,
    Remove,
}

/// Whether updates can be signed at all. Fails with words.
pub(super) fn check(zone: &Zone) -> Result<(), String> {
    signer(zone).map(drop)
}

fn signer(zone: &Zone) -> Result<TSigner, String> {
    let key = STANDARD
        .decode(zone.key.expose())
        .map_err(|_| "the key of the zone is not in base64".to_owned())?;
    let algorithm = match zone.algorithm.to_ascii_lowercase().as_str() {
        "hmac-sha256" => TsigAlgorithm::HmacSha256,
        "hmac-sha384" => TsigAlgorithm::HmacSha384,
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        other => {
            return Err(format!(
                "`{other}` is no algorithm for updates: hmac-sha256, hmac-sha384 or hmac-sha512"
            ));
        }
    };
    TSigner::new(key, algorithm, name(&zone.key_name)?, FUDGE_S)
        .map_err(|error| format!("updates cannot be signed: {error}"))
}

fn name(text: &str) -> Result<Name, String> {
    let absolute = format!("{}.", text.trim_end_matches('.'));
    Name::from_ascii(&absolute).map_err(|_| format!("`{text}` is no name in DNS"))
}

/// Adds a TXT record to a zone, or removes it. Fails with words.
pub(super) async fn update(
    zone: &Zone,
    host: &str,
    value: &str,
    change: Change,
    now_ms: UnixMillis,
) -> Result<(), String> {
    let origin = name(&zone.zone)?;
    let data = RData::TXT(TXT::new(vec![value.to_owned()]));
    let host_name = name(host)?;
    if !origin.zone_of(&host_name) {
        return Err(format!(
            "{host} is not in the zone {}, so no record can be made for it",
            zone.zone
        ));
    }
    let record = Record::from_rdata(host_name, TTL_S, data);
    let mut message = match change {
        Change::Add => update_message::append(RecordSet::from(record), origin, false, false),
        Change::Remove => update_message::delete_by_rdata(RecordSet::from(record), origin, false),
    };
    let seconds = u64::try_from(now_ms / 1_000).unwrap_or(0);
    let verifier = message
        .finalize(&signer(zone)?, seconds)
        .map_err(|error| format!("the update cannot be signed: {error}"))?;
    let request = message.to_vec().map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(TIMEOUT, by_tcp(zone.server, &request))
        .await
        .map_err(|_| format!("the name server {} did not answer", zone.server))?
        .map_err(|error| format!("the name server {} cannot be reached: {error}", zone.server))?;
    let told = Message::from_vec(&answer).map_err(|error| format!("the name server answered nonsense: {error}"))?;
    if told.metadata.response_code != ResponseCode::NoError {
        return Err(format!(
            "the name server {} refused the record {host}: {}",
            zone.server, told.metadata.response_code
        ));
    }
    if let Some(mut verifier) = verifier {
        verifier.verify(&answer).map_err(|error| {
            format!(
                "the answer of the name server {} is not signed by the key: {error}",
                zone.server
            )
        })?;
    }
    Ok(())
}

async fn by_tcp(server: SocketAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(request.len()).map_err(std::io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(request).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The addresses of a name, as a given server knows them. Fails with words.
pub(super) async fn look_up(server: SocketAddr, host: &str) -> Result<Vec<IpAddr>, String> {
    let mut found = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        let answer = tokio::time::timeout(TIMEOUT, ask(server, name(host)?, kind)).await;
        let answer = answer.map_err(|_| format!("the name server {server} did not answer"))??;
        for record in &answer.answers {
            match &record.data {
                RData::A(address) => found.push(IpAddr::V4(address.0)),
                RData::AAAA(address) => found.push(IpAddr::V6(address.0)),
                _ => {}
            }
        }
    }
    Ok(found)
}

async fn ask(server: SocketAddr, host: Name, kind: RecordType) -> Result<Message, String> {
    let mut message = Message::query();
    let id = message.metadata.id;
    let mut query = Query::query(host, kind);
    query.set_query_class(DNSClass::IN);
    message.add_query(query);
    message.metadata.recursion_desired = true;
    let request = message.to_vec().map_err(|error| error.to_string())?;
    let exchange = async {
        let any: SocketAddr = if server.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0_u16; 8], 0).into()
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        socket.send(&request).await?;
        let mut answer = vec![0; 4096];
        let length = socket.recv(&mut answer).await?;
        answer.truncate(length);
        Ok::<_, std::io::Error>(answer)
    };
    let answer = exchange
        .await
        .map_err(|error| format!("the name server {server} cannot be reached: {error}"))?;
    let told = Message::from_vec(&answer).map_err(|error| format!("the name server answered nonsense: {error}"))?;
    if told.metadata.id != id {
        return Err(format!("the name server {server} answered something else"));
    }
    Ok(told)
}
