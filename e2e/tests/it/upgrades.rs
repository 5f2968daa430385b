//! Weir takes its own place, under load, and nothing fails.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::load::{Load, LoadOptions};
use e2e::processes::Part;
use e2e::tls::{Certificate, Tls};
use e2e::{Answer, Repository, Weir, until};

use crate::scaling::{asleep, sleeper_on};

/// How many upgrades the test under load makes.
const UPGRADES: u32 = 3;
/// The name by which the load asks inside TLS.
const TLS_HOST: &str = "upgraded.example.test";

/// An upgrade of a Weir to the very program that it is.
async fn upgrade(weir: &Weir, arguments: &[&str]) -> Result<e2e::weir::Outcome> {
    let data = weir.data.to_string_lossy().into_owned();
    weir.cli(&weir.data, &[&["upgrade", "--data", &data], arguments].concat())
        .await
}

pub(crate) async fn upgrades_under_load_fail_no_request() -> Result<()> {
    let weir = Weir::start_with_tls("upgrades", e2e::weir::binary()?).await?;
    let result = upgrade_under_load(&weir).await;
    weir.remove().await?;
    result
}

async fn upgrade_under_load(weir: &Weir) -> Result<()> {
    let repository = Repository::live_probe(weir, "upgraded").await?;
    // Also inside TLS, where the new node must show the certificate from its first handshake on.
    let tls = with_certificate(weir, &repository).await?;
    let load = Load::start(LoadOptions {
        http2_per_s: 40,
        tls: Some(tls),
        tls_per_s: [20, 10, 40],
        downloads: (2, 16),
        websockets: 4,
        websocket_life: Some(Duration::from_secs(3)),
        ..LoadOptions::usual(weir.http, &repository.host(), "/")
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let supervisor = weir.supervisor()?;
    for _ in 0..UPGRADES {
        let (node, control) = (weir.pid(Part::Node)?, weir.pid(Part::Control)?);
        upgrade(weir, &["--drain", "60s"]).await?.ok()?;
        ensure!(weir.supervisor()? == supervisor, "`weir up` is another process");
        ensure!(weir.pid(Part::Control)? != control, "control was not replaced");
        until("the old node has left", Duration::from_secs(70), || async {
            Ok((!std::path::Path::new(&format!("/proc/{node}")).exists()).then_some(()))
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let report = load.finish().await;
    println!("{UPGRADES} upgrades: {}", report.summary());
    report.none_failed()?;
    // What was served was paid for, by whichever node.
    let audit = weir.cli(&weir.data, &["ledger", "audit"]).await?.ok();
    audit.context("the books are not right after upgrades")?;
    repository.push_version(2).await?.ok()?;
    repository.serves("/", "probe 2").await?;
    repository.destroy().await
}

/// Gives the app a name of its own, with a certificate that its owner brought.
async fn with_certificate(weir: &Weir, repository: &Repository<'_>) -> Result<Tls> {
    let certificate = Certificate::make(&[TLS_HOST])?;
    let (chain, key) = (weir.data.join("upgraded.pem"), weir.data.join("upgraded.key"));
    std::fs::write(&chain, &certificate.chain_pem)?;
    std::fs::write(&key, &certificate.key_pem)?;
    let (chain, key) = (chain.to_string_lossy(), key.to_string_lossy());
    let upload = ["certificate", "upload", &chain, &key];
    repository.cli(&upload).await?.ok()?;
    repository.cli(&["domain", "add", TLS_HOST]).await?.ok()?;
    let https = weir.https.context("this Weir speaks no TLS")?;
    let tls = Tls::new(https, TLS_HOST, &certificate)?;
    until("it is reached by TLS", Duration::from_secs(30), || async {
        tls.is_reached().await?;
        Ok(Some(()))
    })
    .await?;
    Ok(tls)
}

pub(crate) async fn upgrade_that_cannot_work_changes_nothing_and_says_why() -> Result<()> {
    let weir = Weir::start("noupgrade").await?;
    let result = refuse_upgrades(&weir).await;
    weir.remove().await?;
    result
}

async fn refuse_upgrades(weir: &Weir) -> Result<()> {
    let node = weir.pid(Part::Node)?;
    upgrade(weir, &["/bin/true"])
        .await?
        .refused(&["is no Weir that can take over"])?;
    upgrade(weir, &["/nowhere/weir"]).await?.refused(&["/nowhere/weir"])?;
    // It says that it is one, but its node dies at once.
    let liar = weir.data.join("liar");
    let build = weir.cli(&weir.data, &["version", "--build"]).await?.ok()?.stdout;
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = version ]; then cat <<'WORDS'\n{build}\nWORDS\nexit 0; fi\necho no such luck >&2\nexit 3\n"
    );
    std::fs::write(&liar, script)?;
    std::fs::set_permissions(&liar, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let path = liar.to_string_lossy().into_owned();
    upgrade(weir, &[&path])
        .await?
        .refused(&["did not become ready", "no such luck"])?;
    ensure!(weir.pid(Part::Node)? == node, "the node that served is gone");
    weir.wait_until_healthy().await?;
    // Killed in the middle of one, it is whole after a start.
    let begun = upgrade(weir, &[]);
    let killed = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        weir.cut_power().await
    };
    let (_, killed) = tokio::join!(begun, killed);
    killed?;
    weir.start_again().await?;
    upgrade(weir, &[]).await?.ok()?;
    Ok(())
}

pub(crate) async fn upgrade_lets_sleepers_sleep_and_cuts_no_private_call() -> Result<()> {
    let weir = Weir::start("upgradesleep").await?;
    let result = upgrade_beside_sleepers(&weir).await;
    weir.remove().await?;
    result
}

async fn upgrade_beside_sleepers(weir: &Weir) -> Result<()> {
    let sleeper = sleeper_on(weir, "dozer", "idle = \"freeze\"").await?;
    let caller = Repository::live_probe(weir, "caller").await?;
    // From inside over the gateway of its environment, and back to itself.
    let inside = format!("/fetch?url=http://{}:{}", caller.host(), weir.http.port());
    let says = |answer: &Answer, words: &str| {
        ensure!(
            answer.status == 200 && answer.body.starts_with("200 probe 1") && answer.body.contains(words),
            "a private call was answered with {}: {}",
            answer.status,
            answer.body
        );
        Ok(())
    };
    says(&caller.page(&format!("{inside}/")).await?, "")?;
    // It sleeps at the upgrade, and the first one after it wakes it.
    asleep(&sleeper).await?;
    let node = weir.pid(Part::Node)?;
    let long = format!("{inside}/slow?ms=12000");
    let upgraded = async {
        // The long call is on its way.
        tokio::time::sleep(Duration::from_secs(1)).await;
        upgrade(weir, &["--drain", "60s"]).await?.ok()?;
        sleeper.serves("/", "good morning").await?;
        says(&caller.page(&format!("{inside}/")).await?, "")
    };
    let (call, upgraded) = tokio::join!(caller.page(&long), upgraded);
    upgraded?;
    says(&call?, "..........")?;
    until("the old node has left", Duration::from_secs(70), || async {
        Ok((!std::path::Path::new(&format!("/proc/{node}")).exists()).then_some(()))
    })
    .await?;
    // Asked for all the time that an upgrade takes: by whichever node, it wakes at once, and stays
    // awake as long as two of them serve.
    asleep(&sleeper).await?;
    let asked = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..60 {
            let began = std::time::Instant::now();
            sleeper.serves("/", "good morning").await?;
            says(&caller.page(&format!("{inside}/")).await?, "")?;
            slowest = slowest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok::<_, anyhow::Error>(slowest)
    };
    let arguments = ["--drain", "20s"];
    let (asked, upgraded) = tokio::join!(asked, upgrade(weir, &arguments));
    upgraded?.ok()?;
    println!(
        "slowest pair of requests to a sleeper and of a private call during an upgrade: {:?}",
        asked?
    );
    asleep(&sleeper).await?;
    sleeper.serves("/", "good morning").await?;
    sleeper.destroy().await?;
    caller.destroy().await
}
