//! Does a name lead here? Found out before an authority is bothered, because it counts failures:
//! by where DNS leads, and by an answer that only this Weir gives.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::rfc2136;
use super::settings::Authority;
use crate::billing::is_public;

/// Longest wait for each address.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most addresses that are looked at.
const ADDRESSES: usize = 8;
const ANSWER_BYTES: usize = 1 << 10;

/// What only this Weir answers, and where.
#[derive(Debug, Clone)]
pub(super) struct Sign {
    pub(super) token: String,
    pub(super) answer: String,
}

/// How an authority gets an answer under the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Http,
    Tls,
}

/// What was found at one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Here,
    /// Nothing answers by HTTP, but something by TLS.
    OnlyTls,
    SomebodyElse,
    Nobody,
}

/// Looks where a name leads. Fails with words that say what its owner has to change.
pub(super) async fn look(authority: &Authority, name: &str, sign: &Sign) -> Result<Door, String> {
    let mut addresses = match authority.resolver {
        Some(server) => rfc2136::look_up(server, name).await?,
        None => resolve(name).await,
    };
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(format!(
            "DNS knows no address of {name}; let it lead to {}",
            here(authority)
        ));
    }
    if addresses.iter().all(|address| authority.addresses.contains(address)) {
        return Ok(Door::Http);
    }
    if !authority.is_private()
        && let Some(private) = addresses.iter().find(|address| !is_public(**address))
    {
        return Err(format!(
            "DNS leads {name} to {private}, where nobody from outside gets; let it lead to {}",
            here(authority)
        ));
    }
    addresses.truncate(ADDRESSES);
    let looks = addresses.iter().map(|address| look_at(authority, *address, name, sign));
    let found: Vec<(IpAddr, Found)> = addresses.iter().copied().zip(join_all(looks).await).collect();
    conclude(authority, name, &found)
}

fn conclude(authority: &Authority, name: &str, found: &[(IpAddr, Found)]) -> Result<Door, String> {
    let some = |wanted: Found| {
        found
            .iter()
            .find(|(_, found)| *found == wanted)
            .map(|(address, _)| address)
    };
    if let Some(address) = some(Found::SomebodyElse) {
        return Err(format!(
            "DNS leads {name} to {address}, where something else than this Weir answers; let it lead to {}",
            here(authority)
        ));
    }
    if some(Found::Here).is_some() {
        return Ok(Door::Http);
    }
    if some(Found::OnlyTls).is_some() {
        return Ok(Door::Tls);
    }
    let all: Vec<String> = found.iter().map(|(address, _)| address.to_string()).collect();
    Err(format!(
        "nothing answers under {name} ({}) on port {}; if that is this machine, open the port in its firewall",
        all.join(", "),
        authority.http_port
    ))
}

/// What a name should lead to, as far as we know.
fn here(authority: &Authority) -> String {
    if authority.addresses.is_empty() {
        return "this machine".to_owned();
    }
    let all: Vec<String> = authority.addresses.iter().map(ToString::to_string).collect();
    all.join(" or ")
}

async fn resolve(name: &str) -> Vec<IpAddr> {
    // Absolute, so that the search list of this machine adds nothing.
    let found = tokio::net::lookup_host((format!("{name}."), 80)).await;
    found
        .map(|found| found.map(|address| address.ip()).collect())
        .unwrap_or_default()
}

async fn look_at(authority: &Authority, address: IpAddr, name: &str, sign: &Sign) -> Found {
    let http = SocketAddr::new(address, authority.http_port);
    match tokio::time::timeout(TIMEOUT, fetch(http, name, sign)).await {
        Ok(Ok(true)) => return Found::Here,
        Ok(Ok(false)) => return Found::SomebodyElse,
        // Nobody there, or nobody who speaks HTTP.
        Ok(Err(_)) | Err(_) => {}
    }
    let tls = SocketAddr::new(address, authority.tls_port);
    match tokio::time::timeout(TIMEOUT, TcpStream::connect(tls)).await {
        Ok(Ok(_)) => Found::OnlyTls,
        _ => Found::Nobody,
    }
}

/// Whether our answer comes.
async fn fetch(address: SocketAddr, name: &str, sign: &Sign) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .uri(format!("/.well-known/acme-challenge/{}", sign.token))
        .header(header::HOST, name)
        .header(header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())?;
    let answer = async move {
        let answer = sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Ok(false);
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        Ok(body.is_ok_and(|body| body.to_bytes().trim_ascii() == sign.answer.as_bytes()))
    };
    tokio::pin!(connection);
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> Authority {
        Authority {
            directory: String::new(),
            contact: None,
            agreed_ms: 0,
            root: None,
            addresses: vec!["198.51.100.7".parse().unwrap()],
            resolver: None,
            http_port: 80,
            tls_port: 443,
        }
    }

    #[test]
    fn what_is_found_decides_and_is_said_in_plain_words() {
        let v4: IpAddr = "203.0.113.9".parse().unwrap();
        let v6: IpAddr = "2001:db8::9".parse().unwrap();
        let conclude = |found: &[(IpAddr, Found)]| conclude(&authority(), "shop.example.org", found);
        assert_eq!(conclude(&[(v4, Found::Here), (v6, Found::Nobody)]), Ok(Door::Http));
        assert_eq!(conclude(&[(v4, Found::OnlyTls)]), Ok(Door::Tls));
        let other = conclude(&[(v4, Found::Here), (v6, Found::SomebodyElse)]).unwrap_err();
        assert!(other.contains("to 2001:db8::9, where something else"), "{other}");
        assert!(other.ends_with("let it lead to 198.51.100.7"), "{other}");
        let nobody = conclude(&[(v4, Found::Nobody)]).unwrap_err();
        assert!(nobody.contains("(203.0.113.9) on port 80"), "{nobody}");
    }
}
