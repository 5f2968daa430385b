//! The world beyond the machine, for what instances send past the proxy.

use std::time::Duration;

/// A network of its own behind the machine, where a program takes what comes, and a
/// counter of what leaves the machine for it, independent of what is tested.
pub(crate) struct World {
    name: String,
    /// Of a range for documentation (RFC 5737).
    pub(crate) address: String,
    listener: std::process::Child,
}

impl World {
    /// Whoever connects to port 7000 there talks to this program.
    pub(crate) fn new(program: &str) -> Self {
        let name = format!("wt{:08x}", fastrand::u32(..));
        let net = fastrand::u8(0..64) * 4;
        let (gateway, address) = (format!("198.51.100.{}", net + 1), format!("198.51.100.{}", net + 2));
        let (here, there) = (format!("{name}h"), format!("{name}t"));
        for arguments in [
            format!("netns add {name}"),
            format!("link add {here} type veth peer name {there} netns {name}"),
            format!("address add {gateway}/30 dev {here}"),
            format!("link set {here} up"),
            format!("-n {name} address add {address}/30 dev {there}"),
            format!("-n {name} link set {there} up"),
        ] {
            ip(&arguments);
        }
        nft(&format!(
            "table inet {name} {{ counter sent {{ }}
             chain out {{ type filter hook postrouting priority 300; ip daddr {address} counter name \"sent\"; }}
             }}"
        ));
        let listener = std::process::Command::new("ip")
            .args(["netns", "exec", &name, "busybox", "nc", "-ll", "-p", "7000", "-e"])
            .args(program.split(' '))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        Self {
            name,
            address,
            listener,
        }
    }

    /// Bytes that left the machine for the world.
    pub(crate) fn bytes(&self) -> u64 {
        let text = nft(&format!("list counter inet {} sent", self.name));
        let (_before, after) = text.split_once("bytes ").unwrap();
        after.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Waits until so much has left, and then a little for more.
    pub(crate) async fn settled(&self, at_least: u64) -> u64 {
        for _attempt in 0..500 {
            if self.bytes() >= at_least {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.bytes()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What it started for a connection that never ended, too.
        let found = std::process::Command::new("ip")
            .args(["netns", "pids", &self.name])
            .output();
        for process in String::from_utf8(found.unwrap().stdout).unwrap().split_whitespace() {
            let _ended = std::process::Command::new("kill").args(["-9", process]).status();
        }
        self.listener.wait().unwrap();
        nft(&format!("delete table inet {}", self.name));
        ip(&format!("link del {}h", self.name));
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(arguments: &str) {
    let status = std::process::Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.unwrap().success(), "ip {arguments}");
}

fn nft(script: &str) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{script}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "nft refuses {script}");
    String::from_utf8(output.stdout).unwrap()
}
