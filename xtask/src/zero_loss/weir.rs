//! A Weir of its own, with the real Docker.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::processes::{Part, kill_now};
use e2e::tls::{Certificate, Tls};
use e2e::{Repository, Weir, docker, until};

use super::{Change, Measured, Options, System, TLS_HOST, Target};
use crate::bench;

const PROJECT: &str = "zero-loss";
/// From a switch until websockets of the release before are cut.
const RELEASE_DRAIN: &str = "30s";
/// What the old process may take for what is going on at an upgrade.
const UPGRADE_DRAIN: &str = "60s";
const PATIENCE: Duration = Duration::from_secs(90);
const INSTANCES: u64 = 3;

struct OfWeir<'a> {
    weir: &'a Weir,
    repository: Repository<'a>,
    target: Target,
    version: u32,
}

/// Starts it, measures, and removes it.
pub(super) async fn measure(options: &Options, app: &Path, certificate: &Certificate) -> Result<Measured> {
    let binary = match options.debug {
        true => e2e::weir::binary()?,
        false => bench::build_release()?,
    };
    e2e::leftovers::remove_all().await?;
    let weir = Weir::start_with_tls("zero-loss", binary).await?;
    let measured = async {
        let mut system = OfWeir::start(&weir, app, certificate).await?;
        let measured = super::measure(&mut system, options).await?;
        // What was served was paid for, whatever happened.
        let audit = weir.cli(&weir.data, &["ledger", "audit"]).await?.ok();
        audit.context("the books are not right afterwards")?;
        Ok(measured)
    }
    .await;
    let measured = measured.map_err(|error: anyhow::Error| {
        let tail = weir.log_tail(30);
        error.context(format!("the log of Weir ends with:\n{tail}\nWhat failed"))
    });
    weir.remove().await?;
    measured
}

impl<'a> OfWeir<'a> {
    async fn start(weir: &'a Weir, app: &Path, certificate: &Certificate) -> Result<Self> {
        let repository = Repository::empty(weir, PROJECT).await?;
        let base = docker::busybox_image().await?;
        let run = "COPY load_app /load_app\nCOPY version /version\nEXPOSE 8000\nCMD [\"/load_app\"]\n";
        repository.write("Dockerfile", &format!("FROM {base}\n{run}"))?;
        let process = "[process.web]\nconcurrency = 500\nmemory = \"256MiB\"\n";
        let deploy = format!("[deploy]\ndrain = \"{RELEASE_DRAIN}\"\n");
        repository.write("weir.toml", &format!("{process}{deploy}"))?;
        std::fs::copy(app, repository.path().join("load_app")).context("copy the app")?;
        // More than all of this costs.
        for scope in ["account:default", PROJECT] {
            let cap = ["cap", "set", scope, "1000.00/month", "--no-pace"];
            repository.cli(&cap).await?.ok()?;
        }
        let (chain, key) = (weir.data.join("zero-loss.pem"), weir.data.join("zero-loss.key"));
        std::fs::write(&chain, &certificate.chain_pem)?;
        std::fs::write(&key, &certificate.key_pem)?;
        let (chain, key) = (chain.to_string_lossy(), key.to_string_lossy());
        let upload = ["certificate", "upload", &chain, &key];
        repository.cli(&upload).await?.ok()?;
        let https = weir.https.context("this Weir speaks no TLS")?;
        let target = Target {
            http: weir.http,
            host: repository.host(),
            tls: Tls::new(https, TLS_HOST, certificate)?,
        };
        let mut system = Self {
            weir,
            repository,
            target,
            version: 0,
        };
        system.deploy().await?;
        system.repository.cli(&["domain", "add", TLS_HOST]).await?.ok()?;
        system.wait_for_tls().await?;
        Ok(system)
    }

    async fn wait_for_tls(&self) -> Result<()> {
        until("it is reached by TLS", PATIENCE, || async {
            self.target.tls.is_reached().await?;
            Ok(Some(()))
        })
        .await
    }

    async fn deploy(&mut self) -> Result<()> {
        self.version += 1;
        self.repository.write("version", &format!("{}\n", self.version))?;
        self.repository.commit(&format!("Version {}", self.version)).await?;
        self.repository.push("main").await?.ok()?;
        let text = format!("probe {}\n", self.version);
        self.repository.serves("/", &text).await.context("after a deploy")?;
        Ok(())
    }

    async fn upgrade(&self) -> Result<()> {
        let (node, control) = (self.weir.pid(Part::Node)?, self.weir.pid(Part::Control)?);
        let data = self.weir.data.to_string_lossy().into_owned();
        let words = ["upgrade", "--data", &data, "--drain", UPGRADE_DRAIN];
        self.repository.cli(&words).await?.ok()?;
        ensure!(self.weir.pid(Part::Control)? != control, "control was not replaced");
        until("the old node has left", PATIENCE, || async {
            Ok((!Path::new(&format!("/proc/{node}")).exists()).then_some(()))
        })
        .await
    }

    async fn scale(&self, instances: u64) -> Result<()> {
        let wanted = format!("web={instances}");
        self.repository.cli(&["scale", &wanted]).await?.ok()?;
        self.wait_for_instances(instances).await
    }

    async fn wait_for_instances(&self, instances: u64) -> Result<()> {
        until("all instances are ready", PATIENCE, || async {
            let status = self.weir.status(PROJECT, "production").await?;
            let web = &status["processes"][0];
            Ok((web["wanted"] == instances && web["ready"] == instances).then_some(()))
        })
        .await
    }

    /// Ends the first process of one that serves with SIGKILL, behind Docker's back.
    async fn kill(&self) -> Result<()> {
        let containers = self.weir.containers(PROJECT, "production", "web").await?;
        let mut running = Vec::new();
        for container in &containers {
            let format = "{{if not .State.Paused}}{{.State.Pid}}{{end}}";
            let pid = docker::docker(&["inspect", "--format", format, container]).await?;
            running.extend(pid.trim().parse::<u32>().ok().filter(|pid| *pid > 1));
        }
        let pid = running.first().context("no instance runs")?;
        kill_now(*pid)?;
        until("the instance is gone", PATIENCE, || async {
            Ok((!Path::new(&format!("/proc/{pid}")).exists()).then_some(()))
        })
        .await?;
        // Until control has seen it, it says that all are ready.
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.wait_for_instances(INSTANCES).await
    }
}

impl System for OfWeir<'_> {
    fn name(&self) -> &'static str {
        "Weir"
    }

    fn target(&self) -> &Target {
        &self.target
    }

    async fn prepare(&mut self, change: Change) -> Result<()> {
        match change {
            Change::ScaleIn | Change::Kill => self.scale(INSTANCES).await,
            Change::Deploy | Change::Rollback | Change::Upgrade => Ok(()),
        }
    }

    async fn change(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Deploy => self.deploy().await,
            Change::Rollback => {
                self.repository.cli(&["rollback"]).await?.ok()?;
                Ok(())
            }
            Change::Upgrade => self.upgrade().await,
            Change::ScaleIn => {
                self.scale(INSTANCES - 1).await?;
                tokio::time::sleep(super::PAUSE).await;
                self.scale(INSTANCES).await
            }
            Change::Kill => self.kill().await,
        }
    }
}
