//! A node without a control: serves by a snapshot from a file, with money that does not end and
//! with the guard. `cargo xtask bench ingress` puts it beside other proxies.
//!
//! `node_alone SNAPSHOT` prints where it listens, as a line of JSON, and serves until it is ended. It
//! speaks TLS, too, if there is a `certificates.json` beside the snapshot.
#![expect(clippy::unwrap_used, reason = "it fails where it cannot serve")]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

#[path = "../tests/it/fund.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod fund;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_ingress::{Guarding, Node, NodeConfig, Spending};

use crate::fund::Fund;

/// As in `weir`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let snapshot = PathBuf::from(std::env::args_os().nth(1).unwrap());
    let fund = Fund::of(i64::MAX / 8);
    while fund.draw_bytes(1).is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let node = Node::bind(config(&snapshot, &fund)).unwrap();
    println!(
        "{}",
        serde_json::json!({ "http": node.http_address(), "https": node.https_address() })
    );
    node.run(CancellationToken::new()).await.unwrap();
}

/// As in `weir node`, but for one worker, and nobody to report to.
fn config(snapshot: &Path, fund: &Fund) -> NodeConfig {
    let nobody = snapshot.with_extension("sock");
    let mut config = NodeConfig::new(([127, 0, 0, 1], 0).into(), nobody, snapshot.to_owned());
    config.workers = 1;
    if config.certificates_file.exists() {
        config.https = Some(([127, 0, 0, 1], 0).into());
    }
    config.guarding = Guarding::On;
    config.spending = Some(Spending {
        wallets: fund.wallets.clone(),
        metered: watch::channel(Vec::new()).0,
        paying: watch::channel(BTreeSet::new()).1,
        sending: None,
        cpu: None,
    });
    config
}
