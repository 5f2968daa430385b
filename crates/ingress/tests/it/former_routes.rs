//! Routes in the form of the version before routes travelled by environment: kept on disk by the node that was
//! replaced, and told by a control that is not replaced yet. An upgrade meets both.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use http::Request;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use simple_dns::{RCODE, TYPE};
use weir_model::route::{Backend, RouteState};
use weir_model::route_feed::{Part, read_log};

use crate::lookups::{ask as look_up, free_port};
use crate::many_hosts::{Teller, host, part};
use crate::support::*;
use crate::upgrades::{echo, shouting_app};

/// As that version wrote it, with places for what differs from run to run. Two environments; the first one has a
/// route that is paused, a network, and an instance that finishes what it has.
const KEPT: &str = include_str!("former_routes.json");
/// Of the network in it.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 40, 9));
const GENERATION: u64 = 1_795_330_800_123;

fn kept(app: &App, path: &Path) {
    let text = KEPT
        .replace("INSTANCE", &app.backend.instance.to_string())
        .replace("ADDRESS", &app.backend.address.to_string());
    std::fs::write(path, text).unwrap();
}

/// An open connection of another protocol to the app behind this host.
async fn tunnel(address: SocketAddr, number: u64) -> TokioIo<Upgraded> {
    let request = Request::get("/")
        .header("host", host(number))
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    let mut client = Client::connect(address).await;
    let answer = client.begin(request.body(empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 101);
    TokioIo::new(hyper::upgrade::on(answer).await.unwrap())
}

/// The environment of this number serves from the one and drains the other.
fn switched(number: u64, to: &App, from: &App) -> (u64, Option<Part>) {
    let mut part = part(number, RouteState::Serve, vec![to.backend.clone()]);
    part.draining = vec![from.backend.clone()];
    (number, Some(part))
}

async fn page(address: SocketAddr, number: u64, path: &str) -> Answer {
    let request = Request::get(path).header("host", host(number));
    Client::connect(address)
        .await
        .send(request.body(empty()).unwrap())
        .await
}

/// The generation of the file, if it is of the present form, and how many environments are in it.
fn of_present_form(path: &Path) -> Option<(u64, usize)> {
    let log = read_log(&std::fs::read(path).ok()?).ok()?;
    Some((log.head.generation, log.lines.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_node_serves_by_what_the_one_before_kept_until_control_speaks() {
    let folder = tempfile::tempdir().unwrap();
    // It is there, and has nothing to say yet.
    let teller = Teller::start(&folder.path().join("control.sock"));
    let (old, new) = (shouting_app().await, App::says("new").await);
    let port = free_port(GATEWAY).await;
    let mut node = TestNode::start_with(|config| {
        config.control_socket.clone_from(&teller.socket);
        config.dns_port = port;
        kept(&old, &config.snapshot_file);
    })
    .await;
    let file = node.config.snapshot_file.clone();
    let serves_former = async |address| {
        for number in [1, 2] {
            assert_eq!(page(address, number, "/").await.text(), "plain", "{number}");
        }
        let paused = page(address, 1, "/old/a").await;
        assert_eq!((paused.status.as_u16(), paused.weir()), (503, Some("paused")));
        assert_eq!(page(address, 3, "/").await.status, 404);
        let found = look_up((GATEWAY, port).into(), "api", TYPE::A).await;
        assert_eq!(found, (RCODE::NoError, vec![Ipv4Addr::new(127, 0, 40, 10)]));
    };
    serves_former(node.address).await;
    // It is kept in the form of this version from now on, and that serves as well.
    eventually("the file is of the present form", || {
        of_present_form(&file) == Some((GENERATION, 2))
    })
    .await;
    node.stop().await;
    node.start_again();
    serves_former(node.address).await;

    // Control speaks: everything, because it knows nothing of that generation. Nothing that goes on is cut.
    let mut socket = tunnel(node.address, 1).await;
    echo(&mut socket).await;
    let generation = teller.tell(vec![switched(1, &new, &old)]);
    // That of the file is the higher one.
    eventually("what control says is applied", || teller.applied() == generation).await;
    assert_eq!(page(node.address, 1, "/").await.text(), "new");
    assert_eq!(page(node.address, 2, "/").await.status, 404);
    echo(&mut socket).await;
    assert_eq!(teller.told(), (1, 0));
    eventually("the file is control's", || {
        of_present_form(&file) == Some((generation, 1))
    })
    .await;
    // What follows is a difference.
    let generation = teller.tell(vec![switched(2, &new, &old)]);
    teller.until_applied(generation).await;
    assert_eq!(page(node.address, 2, "/").await.text(), "new");
    assert_eq!(teller.told(), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_that_is_replaced_after_its_node_cuts_nothing() {
    let (old, new) = (shouting_app().await, App::says("new").await);
    // This control tells whole snapshots, as the version before did.
    let node = TestNode::start().await;
    let former = |app: &App, draining: Vec<Backend>| {
        let mut snapshot = routes(&[app]);
        let host_routes = snapshot.hosts.remove("shop.localhost").unwrap();
        snapshot.hosts.insert(host(1), host_routes);
        snapshot.draining = draining;
        snapshot
    };
    node.control.publish_and_wait(former(&old, Vec::new())).await;
    let mut socket = tunnel(node.address, 1).await;
    // It does not say whose the instance is that drains.
    let draining = vec![old.backend.clone()];
    node.control.publish_and_wait(former(&new, draining)).await;
    echo(&mut socket).await;
    node.control.kill();
    std::fs::remove_file(&node.control.socket).unwrap();
    let teller = Teller::start(&node.control.socket);
    let generation = teller.tell(vec![switched(1, &new, &old)]);
    teller.until_applied(generation).await;
    assert_eq!(page(node.address, 1, "/").await.text(), "new");
    echo(&mut socket).await;
    assert_eq!(teller.told(), (1, 0));
    // It ends when this control says so.
    let generation = teller.tell(vec![(1, Some(part(1, RouteState::Serve, vec![new.backend.clone()])))]);
    teller.until_applied(generation).await;
    let mut buffer = [0; 1];
    let read = within(5, "the cut", tokio::io::AsyncReadExt::read(&mut socket, &mut buffer)).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}
