//! Keeps instances from the machine's own services and from the addresses where clouds hand
//! out credentials.
//!
//! Two chains of iptables carry the name of the installation: one is entered from `INPUT` by
//! packets that come in from this Weir's bridges, the other from `DOCKER-USER`, which Docker
//! leaves to others. They are written as a whole, so that a packet sees the old rules or the
//! new ones, and entered by rules that are looked for before they are added.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{DockerOptions, names};

/// Where the metadata services of clouds live, which hand out credentials: the link-local range
/// nearly everywhere, single addresses at Azure and Alibaba. Only DNS is let through, which some
/// of them answer at the same address.
const METADATA: [&str; 3] = ["169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32"];
/// The engine's default bridge, where the commands of builds run.
const DEFAULT_BRIDGE: &str = "docker0";
/// Longest run of one command of iptables.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);

/// The rules of one installation.
#[derive(Debug)]
pub(super) struct Firewall {
    enabled: bool,
    /// Names of interfaces, as iptables matches them.
    bridges: Vec<String>,
    /// Entered by packets for the machine itself.
    input_chain: String,
    /// Entered by packets that the machine passes on.
    forward_chain: String,
    ingress_ports: Vec<u16>,
    warned: AtomicBool,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Firewall {
    pub(super) fn new(options: &DockerOptions) -> Self {
        let mut bridges = vec![format!("{}+", names::bridge_prefix(&options.installation))];
        if options.guard_default_bridge {
            bridges.push(DEFAULT_BRIDGE.to_owned());
        }
        Self {
            enabled: options.firewall,
            bridges,
            input_chain: format!("WEIR-{}", options.installation),
            forward_chain: format!("WEIR-{}-F", options.installation),
            ingress_ports: options.ingress_ports.clone(),
            warned: AtomicBool::new(false),
            one_at_a_time: tokio::sync::Mutex::new(()),
        }
    }

    /// Puts the rules in place. What fails is logged the first time.
    pub(super) async fn ensure(&self) {
        if !self.enabled {
            return;
        }
        let _one_at_a_time = self.one_at_a_time.lock().await;
        match self.apply().await {
            Ok(()) => self.warned.store(false, Ordering::Relaxed),
            Err(reason) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        reason,
                        "the firewall cannot be set: apps can reach services of this machine and the metadata \
                         service of a cloud; run Weir as root with iptables installed to keep them from it"
                    );
                }
            }
        }
    }

    async fn apply(&self) -> Result<(), String> {
        run("iptables-restore", &["--noflush"], Some(&self.rules())).await?;
        for (from, to) in self.hooks(forward_from().await) {
            for bridge in &self.bridges {
                let rule = ["-i", bridge.as_str(), "-j", to];
                let check: Vec<&str> = ["-C", from].into_iter().chain(rule).collect();
                if run("iptables", &check, None).await.is_err() {
                    let insert: Vec<&str> = ["-I", from, "1"].into_iter().chain(rule).collect();
                    run("iptables", &insert, None).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes the rules away.
    pub(super) async fn remove(&self) -> Result<(), String> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        for (from, to) in self.hooks(forward_from().await) {
            for bridge in &self.bridges {
                // More than once, should somebody have added it by hand.
                while run("iptables", &["-D", from, "-i", bridge, "-j", to], None)
                    .await
                    .is_ok()
                {}
            }
        }
        for chain in [&self.input_chain, &self.forward_chain] {
            if run("iptables", &["-F", chain], None).await.is_ok() {
                run("iptables", &["-X", chain], None).await?;
            }
        }
        Ok(())
    }

    /// Which chain is entered from where.
    fn hooks(&self, forward_from: &'static str) -> [(&'static str, &str); 2] {
        [("INPUT", &self.input_chain), (forward_from, &self.forward_chain)]
    }

    /// The chains in the words of `iptables-restore`.
    fn rules(&self) -> String {
        let (input, forward) = (&self.input_chain, &self.forward_chain);
        let mut lines = vec![
            "*filter".to_owned(),
            format!(":{input} - [0:0]"),
            format!(":{forward} - [0:0]"),
            format!("-A {forward} -p udp --dport 53 -j RETURN"),
            format!("-A {forward} -p tcp --dport 53 -j RETURN"),
            format!("-A {input} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
            format!("-A {input} -p icmp -j ACCEPT"),
            format!("-A {input} -p udp --dport 53 -j ACCEPT"),
            format!("-A {input} -p tcp --dport 53 -j ACCEPT"),
        ];
        for range in METADATA {
            // The kernel sends few ICMP errors a second: a connection would hang for want of one.
            lines.push(format!(
                "-A {forward} -d {range} -p tcp -j REJECT --reject-with tcp-reset"
            ));
            lines.push(format!("-A {forward} -d {range} -j REJECT"));
        }
        for port in &self.ingress_ports {
            lines.push(format!("-A {input} -p tcp --dport {port} -j ACCEPT"));
        }
        lines.push(format!("-A {input} -p tcp -j REJECT --reject-with tcp-reset"));
        lines.push(format!("-A {input} -j REJECT"));
        lines.push("COMMIT\n".to_owned());
        lines.join("\n")
    }
}

/// Where packets that are passed on can be looked at: the chain that Docker keeps for others,
/// or the kernel's own where Docker does not manage the firewall.
async fn forward_from() -> &'static str {
    match run("iptables", &["-n", "-L", "DOCKER-USER"], None).await {
        Ok(()) => "DOCKER-USER",
        Err(_missing) => "FORWARD",
    }
}

/// Runs a command of iptables, which may live in a folder that is not searched for everybody.
async fn run(program: &str, arguments: &[&str], input: Option<&str>) -> Result<(), String> {
    let path = ["/usr/sbin", "/sbin", "/usr/local/sbin"]
        .iter()
        .map(|folder| format!("{folder}/{program}"))
        .find(|path| std::path::Path::new(path).exists())
        .unwrap_or_else(|| program.to_owned());
    let mut child = Command::new(path)
        // Waits for others who change the rules.
        .args(["-w", "5"])
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let finished = async {
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(input.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(COMMAND_TIMEOUT, finished)
        .await
        .map_err(|_elapsed| format!("{program} did not end"))?
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_rejects_and_the_ingress_is_let_through_before() {
        let rules = Firewall::new(&DockerOptions::new("ab12cd34")).rules();
        let ingress = rules.find("--dport 8080 -j ACCEPT").unwrap();
        let reject = rules.find("-A WEIR-ab12cd34 -j REJECT").unwrap();
        assert!(ingress < reject);
        assert!(rules.ends_with("COMMIT\n"));
    }
}
