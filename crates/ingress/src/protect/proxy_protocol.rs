//! The PROXY protocol, versions 1 and 2, by which a load balancer says for whom it speaks.
//!
//! It is read to the byte, so that what follows (a TLS handshake, say) is left in the socket. Who
//! may speak it must: otherwise a client of the load balancer could say it in its place.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_1: &[u8] = b"PROXY ";
/// Longest line of version 1, with its end.
const LINE_BYTES: usize = 107;
/// Longest rest of version 2, with all that it may say besides addresses.
const REST_BYTES: usize = 4096;

/// For whom a load balancer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// For itself, to see whether we are there.
    Itself,
    /// For a client.
    Client(IpAddr),
}

/// Reads the header. Nothing after it is taken out of the stream.
///
/// # Errors
/// There is none, or not a whole one, or one that does not keep to the protocol.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Source> {
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await?;
    if begin == SIGNATURE {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if length > REST_BYTES {
            return Err(wrong("its header is too long"));
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        return version_2(fixed[0], fixed[1], &rest).map_err(wrong);
    }
    if !begin.starts_with(VERSION_1) {
        return Err(wrong("it does not begin with a PROXY header"));
    }
    let mut line = begin.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_BYTES {
            return Err(wrong("its PROXY line does not end"));
        }
        line.push(stream.read_u8().await?);
    }
    let text = std::str::from_utf8(&line[..line.len() - 2]).map_err(|_| wrong("its PROXY line is no text"))?;
    version_1(text).map_err(wrong)
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn version_1(line: &str) -> Result<Source, &'static str> {
    let mut words = line.split(' ');
    words.next();
    match words.next() {
        Some("UNKNOWN") => Ok(Source::Itself),
        Some("TCP4") => addresses_1::<Ipv4Addr>(words),
        Some("TCP6") => addresses_1::<Ipv6Addr>(words),
        _ => Err("its PROXY line names no protocol that is known"),
    }
}

fn addresses_1<'a, A: FromStr + Into<IpAddr>>(words: impl Iterator<Item = &'a str>) -> Result<Source, &'static str> {
    const WRONG: &str = "its PROXY line is malformed";
    let words: Vec<&str> = words.collect();
    let [source, destination, ports @ ..] = words.as_slice() else {
        return Err(WRONG);
    };
    let source: A = source.parse().map_err(|_| WRONG)?;
    destination.parse::<A>().map_err(|_| WRONG)?;
    let is_port = |port: &&str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && (*port == "0" || !port.starts_with('0'))
            && port.parse::<u16>().is_ok()
    };
    if ports.len() != 2 || !ports.iter().all(is_port) {
        return Err(WRONG);
    }
    Ok(Source::Client(source.into().to_canonical()))
}

fn version_2(version_and_command: u8, family: u8, rest: &[u8]) -> Result<Source, &'static str> {
    match version_and_command {
        0x20 => return Ok(Source::Itself),
        0x21 => {}
        _ => return Err("its PROXY header has another version or command"),
    }
    const SHORT: &str = "its PROXY header is too short for its addresses";
    match family {
        // TCP over IPv4, over IPv6.
        0x11 => {
            let (addresses, _) = rest.split_first_chunk::<12>().ok_or(SHORT)?;
            let [a, b, c, d, ..] = *addresses;
            Ok(Source::Client(Ipv4Addr::new(a, b, c, d).into()))
        }
        0x21 => {
            let (addresses, _) = rest.split_first_chunk::<36>().ok_or(SHORT)?;
            let source: [u8; 16] = addresses.first_chunk().copied().ok_or(SHORT)?;
            Ok(Source::Client(IpAddr::from(Ipv6Addr::from(source)).to_canonical()))
        }
        // Nothing said: to be taken for the load balancer's own.
        0x00 => Ok(Source::Itself),
        _ => Err("its PROXY header is not about TCP"),
    }
}

/// The header of version 1 for a client, as load balancers write it; for tests.
#[cfg(test)]
fn line(client: std::net::SocketAddr, here: std::net::SocketAddr) -> String {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        client.ip(),
        here.ip(),
        client.port(),
        here.port()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn parse(bytes: &[u8]) -> Result<(Source, usize), io::ErrorKind> {
        let mut left = bytes;
        let source = read(&mut left).await.map_err(|error| error.kind())?;
        Ok((source, left.len()))
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    fn client(text: &str) -> Source {
        Source::Client(text.parse().unwrap())
    }

    #[tokio::test]
    async fn both_versions_say_for_whom_they_speak_and_take_nothing_else() {
        let here = "192.0.2.1:443".parse().unwrap();
        let text = line("203.0.113.9:4711".parse().unwrap(), here) + "GET";
        assert_eq!(parse(text.as_bytes()).await, Ok((client("203.0.113.9"), 3)));
        let text = "PROXY TCP6 2001:db8::9 2001:db8::1 1 65535\r\n\x16\x03";
        assert_eq!(parse(text.as_bytes()).await, Ok((client("2001:db8::9"), 2)));
        assert_eq!(parse(b"PROXY UNKNOWN\r\nGET").await, Ok((Source::Itself, 3)));
        assert_eq!(
            parse(b"PROXY UNKNOWN whatever is here\r\n").await,
            Ok((Source::Itself, 0))
        );
        let v4 = [203, 0, 113, 9, 192, 0, 2, 1, 0, 80, 1, 187];
        let with_more = [&v4[..], &[0xEE, 0, 5, 1, 2, 3, 4, 5]].concat();
        let bytes = [binary(0x21, 0x11, &with_more), b"GET".to_vec()].concat();
        assert_eq!(parse(&bytes).await, Ok((client("203.0.113.9"), 3)));
        let mapped: Ipv6Addr = "::ffff:203.0.113.9".parse().unwrap();
        let v6 = [&mapped.octets()[..], &[0; 20]].concat();
        assert_eq!(parse(&binary(0x21, 0x21, &v6)).await, Ok((client("203.0.113.9"), 0)));
        assert_eq!(
            parse(&binary(0x20, 0, &[])).await,
            Ok((Source::Itself, 0)),
            "a health check"
        );
        assert_eq!(parse(&binary(0x20, 0x11, &v4)).await, Ok((Source::Itself, 0)));
        assert_eq!(parse(&binary(0x21, 0, &[])).await, Ok((Source::Itself, 0)));
    }

    #[tokio::test]
    async fn whoever_does_not_keep_to_it_is_refused() {
        let malformed: Vec<Vec<u8>> = [
            "GET / HTTP/1.1\r\n\r\n",
            "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n",
        ]
        .map(|text| text.as_bytes().to_vec())
        .into_iter()
        .chain([
            binary(0x11, 0x11, &[0; 12]),
            binary(0x22, 0x11, &[0; 12]),
            binary(0x21, 0x11, &[0; 11]),
            binary(0x21, 0x21, &[0; 35]),
            binary(0x21, 0x12, &[0; 12]),
            binary(0x21, 0x31, &[0; 216]),
            binary(0x21, 0x11, &[0; REST_BYTES + 1]),
            format!("PROXY TCP4 {}\r\n", "1".repeat(200)).into_bytes(),
        ])
        .collect();
        for bytes in malformed {
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(parse(&bytes).await, Err(io::ErrorKind::InvalidData), "{shown:?}");
        }
    }

    #[tokio::test]
    async fn no_bytes_at_all_make_it_panic_or_read_on() {
        let whole = binary(0x21, 0x11, &[1; 40]);
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]).await, Err(io::ErrorKind::UnexpectedEof));
        }
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..50_000 {
            let mut bytes = if round % 2 == 0 {
                binary(0x21, 0x11, &[7; 30])
            } else {
                b"PROXY TCP4 1.2.3.4 5.6.7.8 90 12\r\nGET / HTTP/1.1\r\n".to_vec()
            };
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            if let Ok((_, left)) = parse(&bytes).await {
                assert!(bytes.len() - left >= 15);
            }
        }
    }
}
