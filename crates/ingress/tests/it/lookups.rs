//! Gateways: name lookups and the ingress beside the main address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use weir_ingress::Spending;
use weir_ledger::Sku;

use crate::fund::{Fund, environment};
use crate::support::*;

fn query(name: &str, kind: TYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(7);
    let question = Question::new(
        Name::new(name).unwrap(),
        QTYPE::TYPE(kind),
        QCLASS::CLASS(CLASS::IN),
        false,
    );
    packet.questions.push(question);
    packet.build_bytes_vec().unwrap()
}

fn addresses(reply: &[u8]) -> (RCODE, Vec<Ipv4Addr>) {
    let reply = Packet::parse(reply).unwrap();
    let addresses = reply.answers.iter().filter_map(|answer| match &answer.rdata {
        RData::A(a) => Some(Ipv4Addr::from(a.address)),
        _ => None,
    });
    (reply.rcode(), addresses.collect())
}

pub(crate) async fn ask(server: SocketAddr, name: &str, kind: TYPE) -> (RCODE, Vec<Ipv4Addr>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 1024];
    for _ in 0..100 {
        // Nobody listens there yet: the error comes back with the next call.
        let _ = socket.send_to(&query(name, kind), server).await;
        if let Ok(Ok((length, _))) =
            tokio::time::timeout(Duration::from_millis(300), socket.recv_from(&mut buffer)).await
        {
            return addresses(&buffer[..length]);
        }
    }
    panic!("no reply");
}

/// A resolver that knows one address for everything.
async fn resolver() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while let Ok((length, asker)) = socket.recv_from(&mut buffer).await {
            let query = Packet::parse(&buffer[..length]).unwrap();
            let mut reply = Packet::new_reply(query.id());
            reply.questions.clone_from(&query.questions);
            let data = RData::A(Ipv4Addr::new(9, 9, 9, 9).into());
            reply.answers.push(ResourceRecord::new(
                query.questions[0].qname.clone(),
                CLASS::IN,
                60,
                data,
            ));
            let reply = reply.build_bytes_vec().unwrap();
            let _ = socket.send_to(&reply, asker).await;
        }
    });
    address
}

pub(crate) async fn free_port(address: IpAddr) -> u16 {
    UdpSocket::bind((address, 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_find_public_names_at_their_gateway() {
    let gateway = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77));
    let port = free_port(gateway).await;
    let upstream = resolver().await;
    let resolv_conf = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        resolv_conf.path(),
        format!("nameserver {}#{}\n", upstream.ip(), upstream.port()),
    )
    .unwrap();
    let node = TestNode::start_with(|config| {
        config.dns_port = port;
        config.resolv_conf = resolv_conf.path().to_owned();
    })
    .await;
    let app = App::says("through the gateway").await;
    node.control
        .publish_and_wait(with_gateway(routes(&[&app]), gateway))
        .await;
    let server = SocketAddr::new(gateway, port);
    assert_eq!(
        ask(server, "SHOP.localhost", TYPE::A).await,
        (RCODE::NoError, vec![Ipv4Addr::new(127, 0, 0, 77)])
    );
    assert_eq!(
        ask(server, "shop.localhost", TYPE::AAAA).await,
        (RCODE::NoError, vec![])
    );
    assert_eq!(
        ask(server, "example.org", TYPE::A).await,
        (RCODE::NoError, vec![Ipv4Addr::new(9, 9, 9, 9)])
    );

    let mut stream = TcpStream::connect(server).await.unwrap();
    let message = query("shop.localhost", TYPE::A);
    stream.write_u16(message.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&message).await.unwrap();
    let length = stream.read_u16().await.unwrap();
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(addresses(&reply).1, [Ipv4Addr::new(127, 0, 0, 77)]);

    let http = SocketAddr::new(gateway, node.address.port());
    let answer = raw(
        http,
        b"GET / HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.ends_with("through the gateway"), "{answer}");

    node.control.publish_and_wait(routes(&[&app])).await;
    for _ in 0..200 {
        if TcpStream::connect(http).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the gateway is still listened at after it vanished");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_is_not_there_is_a_server_failure() {
    let gateway = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 78));
    let port = free_port(gateway).await;
    let node = TestNode::start_with(|config| {
        config.dns_port = port;
        config.resolv_conf = "/nonexistent/resolv.conf".into();
    })
    .await;
    let app = App::says("x").await;
    node.control
        .publish_and_wait(with_gateway(routes(&[&app]), gateway))
        .await;
    let (code, _) = ask(SocketAddr::new(gateway, port), "example.org", TYPE::A).await;
    assert_eq!(code, RCODE::ServerFailure);
}

/// A node whose lookups are paid from a fund, at a gateway of its own.
async fn paying_gateway(fund: &Fund, last: u8) -> (TestNode, SocketAddr) {
    let gateway = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let port = free_port(gateway).await;
    let upstream = resolver().await;
    let resolv_conf = tempfile::NamedTempFile::new().unwrap();
    let line = format!("nameserver {}#{}\n", upstream.ip(), upstream.port());
    std::fs::write(resolv_conf.path(), line).unwrap();
    let spending = Spending {
        wallets: fund.wallets.clone(),
        metered: watch::channel(Vec::new()).0,
        paying: watch::channel(BTreeSet::new()).1,
        sending: None,
        cpu: None,
    };
    let path = resolv_conf.path().to_owned();
    let node = TestNode::start_with(|config| {
        config.dns_port = port;
        config.resolv_conf = path;
        config.spending = Some(spending);
    })
    .await;
    let app = App::says("x").await;
    let mut snapshot = with_gateway(routes(&[&app]), gateway);
    snapshot.networks = BTreeMap::from([(gateway, environment())]);
    node.control.publish_and_wait(snapshot).await;
    let server = SocketAddr::new(gateway, port);
    // Our own names cost nothing. By the answer the list of resolvers can still be read.
    assert_eq!(ask(server, "shop.localhost", TYPE::A).await.0, RCODE::NoError);
    let (code, _) = ask(server, "warm.example.org", TYPE::A).await;
    assert!(matches!(code, RCODE::NoError | RCODE::Refused), "{code:?}");
    (node, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_of_outside_names_are_paid_by_the_byte() {
    let fund = Fund::of(1_000_000_000);
    let (_node, server) = paying_gateway(&fund, 79).await;
    let before = fund.used(&Sku::EGRESS);
    let asked = query("example.org", TYPE::A).len();
    let (code, _) = ask(server, "example.org", TYPE::A).await;
    assert_eq!(code, RCODE::NoError);
    // The answer says the question again, and one address: 16 bytes with a name of two.
    let paid = usize::try_from(fund.used(&Sku::EGRESS) - before).unwrap();
    assert!(paid > 2 * asked && paid < 2 * asked + 64, "{paid} for {asked}");
    let before = fund.used(&Sku::EGRESS);
    ask(server, "shop.localhost", TYPE::A).await;
    assert_eq!(fund.used(&Sku::EGRESS), before, "what is answered here is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_money_nothing_leaves_by_name() {
    let fund = Fund::of(1_000);
    let (_node, server) = paying_gateway(&fund, 80).await;
    let (code, _) = ask(server, "secrets.example.org", TYPE::A).await;
    assert_eq!(code, RCODE::Refused);
    assert_eq!(fund.used(&Sku::EGRESS), 0);
}
