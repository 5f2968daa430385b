//! What instances may send to the world past the proxy: an allowance in the kernel that fails
//! closed.
//!
//! A table of nftables of its own carries the name of the installation. What comes in from one
//! of this Weir's bridges and is passed on goes, by the name of its bridge, to the chain of its
//! environment: traffic within the network is let through, then a *quota* drops what is above
//! the allowance, and a counter counts what passed. A bridge without a chain sends nothing.
//!
//! Why not the chains of [`firewall`](super::firewall): a quota of iptables is filled anew
//! whenever anybody changes the table where the old kernel interface is used, and nobody would
//! notice. Named quotas of nftables are the kernel's own objects: setting one anew keeps what it
//! has counted, a change is one transaction, and it outlives the process that made it.
//!
//! The table is looked at after the chains of iptables (priority 10 comes after 0), so what those
//! refuse costs nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use weir_model::EnvironmentId;

use crate::EngineError;

use super::names;

/// Longest run of the tool.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// The allowances of one installation.
#[derive(Debug)]
pub(super) struct Egress {
    installation: String,
    table: String,
    /// What was sent as far as it is known, so that totals do not fall when somebody empties the
    /// machine's rules.
    known: tokio::sync::Mutex<BTreeMap<EnvironmentId, u64>>,
}

/// What the kernel has counted for an environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    /// By the quota: passed and dropped.
    tried: u64,
    /// By the counter: passed.
    sent: u64,
}

impl Egress {
    pub(super) fn new(installation: &str) -> Self {
        Self {
            installation: installation.to_owned(),
            table: format!("weir-{installation}"),
            known: tokio::sync::Mutex::default(),
        }
    }

    /// Sets totals, and tells what was sent.
    pub(super) async fn set(
        &self,
        allow: &BTreeMap<EnvironmentId, u64>,
    ) -> Result<BTreeMap<EnvironmentId, u64>, EngineError> {
        let mut known = self.known.lock().await;
        let mut counted = self.read().await?;
        if !allow.is_empty() {
            let script = self.script(allow, &counted, &known);
            nft(&["-f", "-"], Some(&script)).await?;
            counted = self.read().await?;
        }
        *known = counted
            .iter()
            .map(|(environment, counted)| (*environment, counted.sent))
            .collect();
        Ok(known.clone())
    }

    /// Takes an environment out: its bridge can send nothing any more.
    pub(super) async fn forget(&self, environment: EnvironmentId) -> Result<(), EngineError> {
        let mut known = self.known.lock().await;
        known.remove(&environment);
        if !self.read().await?.contains_key(&environment) {
            return Ok(());
        }
        let (table, bridge) = (&self.table, names::bridge(&self.installation, environment));
        let script = format!(
            "delete element inet {table} bridges {{ \"{bridge}\" }}\n\
             delete chain inet {table} {environment}\n\
             delete quota inet {table} {environment}\n\
             delete counter inet {table} {environment}\n"
        );
        nft(&["-f", "-"], Some(&script)).await.map(drop)
    }

    /// Takes everything away: instances may send what they like.
    pub(super) async fn remove(&self) -> Result<(), EngineError> {
        self.known.lock().await.clear();
        match nft(&["delete", "table", "inet", &self.table], None).await {
            Ok(_said) => Ok(()),
            Err(_error) if !self.exists().await? => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes the table if it is missing: from then on instances send only what they are allowed.
    pub(super) async fn ensure(&self) -> Result<(), EngineError> {
        let known = self.known.lock().await;
        let script = self.script(&BTreeMap::new(), &BTreeMap::new(), &known);
        nft(&["-f", "-"], Some(&script)).await.map(drop)
    }

    async fn exists(&self) -> Result<bool, EngineError> {
        let tables = nft(&["list", "tables", "inet"], None).await?;
        Ok(tables
            .lines()
            .any(|line| line.trim() == format!("table inet {}", self.table)))
    }

    async fn read(&self) -> Result<BTreeMap<EnvironmentId, Counted>, EngineError> {
        let text = match nft(&["-j", "list", "table", "inet", &self.table], None).await {
            Ok(text) => text,
            Err(_error) if !self.exists().await? => return Ok(BTreeMap::new()),
            Err(error) => return Err(error),
        };
        parse(&text).ok_or_else(|| EngineError::Refused("what nft says is not understood".to_owned()))
    }

    /// One transaction that sets all totals and makes what is missing.
    ///
    /// The quota counts what it drops, too, so it is set to what was tried, and what may still
    /// be sent above that. What is tried between reading and setting only makes the rest smaller.
    /// The kernel tells its objects in the order in which they were made, so the quota is read
    /// before the counter of the same environment: a packet between the two, too, only makes the
    /// rest smaller.
    fn script(
        &self,
        allow: &BTreeMap<EnvironmentId, u64>,
        counted: &BTreeMap<EnvironmentId, Counted>,
        known: &BTreeMap<EnvironmentId, u64>,
    ) -> String {
        let (table, prefix) = (&self.table, names::bridge_prefix(&self.installation));
        let mut script = format!(
            "table inet {table} {{\n\
             map bridges {{ type ifname : verdict; }}\n\
             chain egress {{ }}\n\
             chain forward {{ type filter hook forward priority 10; policy accept; }}\n\
             }}\n\
             flush chain inet {table} egress\n\
             flush chain inet {table} forward\n\
             add rule inet {table} egress iifname vmap @bridges\n\
             add rule inet {table} egress drop\n\
             add rule inet {table} forward iifname \"{prefix}*\" goto egress\n"
        );
        for (environment, total) in allow {
            let now = counted.get(environment);
            let (tried, sent) = match now {
                Some(counted) => (counted.tried, counted.sent),
                None => (0, known.get(environment).copied().unwrap_or(0)),
            };
            // 0 would mean nothing to the tool; a packet of one byte does not exist.
            let quota = tried
                .saturating_add(total.saturating_sub(sent))
                .clamp(1, i64::MAX.unsigned_abs());
            let _infallible = writeln!(script, "add quota inet {table} {environment} {{ over {quota} bytes; }}");
            if now.is_some() {
                continue;
            }
            let bridge = names::bridge(&self.installation, *environment);
            let _infallible = write!(
                script,
                "add counter inet {table} {environment} {{ packets 0 bytes {sent}; }}\n\
                 add chain inet {table} {environment}\n\
                 add rule inet {table} {environment} oifname \"{bridge}\" accept\n\
                 add rule inet {table} {environment} quota name \"{environment}\" drop\n\
                 add rule inet {table} {environment} counter name \"{environment}\" accept\n\
                 add element inet {table} bridges {{ \"{bridge}\" : goto {environment} }}\n"
            );
        }
        script
    }
}

/// Reads the objects of `nft -j list table`.
fn parse(text: &str) -> Option<BTreeMap<EnvironmentId, Counted>> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let mut all: BTreeMap<EnvironmentId, Counted> = BTreeMap::new();
    for item in value.get("nftables")?.as_array()? {
        let named = |kind: &str| {
            let object = item.get(kind)?;
            let environment = object.get("name")?.as_str()?.parse::<EnvironmentId>().ok()?;
            Some((environment, object))
        };
        if let Some((environment, quota)) = named("quota") {
            all.entry(environment).or_default().tried = quota.get("used")?.as_u64()?;
        }
        if let Some((environment, counter)) = named("counter") {
            all.entry(environment).or_default().sent = counter.get("bytes")?.as_u64()?;
        }
    }
    Some(all)
}

/// Runs the tool, which may live in a folder that is not searched for everybody.
async fn nft(arguments: &[&str], input: Option<&str>) -> Result<String, EngineError> {
    let path = ["/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
        .unwrap_or("nft");
    let refused = |error: std::io::Error| EngineError::Refused(format!("nft cannot be run: {error}"));
    let mut child = Command::new(path)
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(refused)?;
    let finished = async {
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(input.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(COMMAND_TIMEOUT, finished)
        .await
        .map_err(|_elapsed| EngineError::Unreachable("nft did not end".to_owned()))?
        .map_err(refused)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(EngineError::Refused(format!(
        "nft: {}",
        words.lines().next().unwrap_or("").trim()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(number: u128) -> EnvironmentId {
        EnvironmentId::from_parts(1, number)
    }

    fn quota_of(script: &str, environment: EnvironmentId) -> u64 {
        let line = script
            .lines()
            .find(|line| line.starts_with(&format!("add quota inet weir-ab12cd34 {environment} ")))
            .unwrap();
        line.split(' ').nth(7).unwrap().parse().unwrap()
    }

    #[test]
    fn what_was_dropped_does_not_use_up_the_next_allowance() {
        let (egress, shop) = (Egress::new("ab12cd34"), environment(1));
        let counted = BTreeMap::from([(
            shop,
            Counted {
                tried: 9_000,
                sent: 1_000,
            },
        )]);
        let script = egress.script(&BTreeMap::from([(shop, 1_500)]), &counted, &BTreeMap::new());
        assert_eq!(quota_of(&script, shop), 9_500);
        assert!(!script.contains("add counter"), "what is there is kept: {script}");
    }

    #[test]
    fn a_total_that_is_reached_lets_nothing_through() {
        let (egress, shop) = (Egress::new("ab12cd34"), environment(1));
        let counted = BTreeMap::from([(
            shop,
            Counted {
                tried: 1_000,
                sent: 1_000,
            },
        )]);
        let script = egress.script(&BTreeMap::from([(shop, 10)]), &counted, &BTreeMap::new());
        assert_eq!(quota_of(&script, shop), 1_000);
    }

    #[test]
    fn totals_go_on_after_somebody_emptied_the_rules() {
        let (egress, shop) = (Egress::new("ab12cd34"), environment(1));
        let known = BTreeMap::from([(shop, 5_000)]);
        let script = egress.script(&BTreeMap::from([(shop, 5_100)]), &BTreeMap::new(), &known);
        assert_eq!(quota_of(&script, shop), 100);
        assert!(script.contains(&format!(
            "add counter inet weir-ab12cd34 {shop} {{ packets 0 bytes 5000; }}"
        )));
    }

    #[test]
    fn objects_are_read() {
        let shop = environment(1);
        let text = format!(
            r#"{{"nftables":[{{"metainfo":{{}}}},
            {{"quota":{{"name":"{shop}","bytes":9,"used":7,"inv":true}}}},
            {{"counter":{{"name":"{shop}","packets":1,"bytes":3}}}},
            {{"chain":{{"name":"{shop}"}}}}]}}"#
        );
        assert_eq!(
            parse(&text),
            Some(BTreeMap::from([(shop, Counted { tried: 7, sent: 3 })]))
        );
        assert_eq!(parse("{}"), None);
    }
}
