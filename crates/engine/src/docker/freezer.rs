//! The freezer of one container, told directly: freezing and thawing take a tenth of a
//! millisecond, where the engine's own calls take many. For instances that sleep while nobody asks
//! anything of them. The engine goes on believing that they run; see [`super::usage`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::groups::{Group, Order};
use crate::FreezePoint;

/// A line of the kernel's list of connections that is open.
const ESTABLISHED: &str = "01";

/// The freezer of one container.
#[derive(Debug)]
pub struct KernelFreezer {
    group: Group,
    processes: PathBuf,
}

/// What the freezer was told last, by whomever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreezerState {
    /// The processes run.
    Thawed,
    /// They were told to stand still, and some do not yet.
    Freezing,
    /// All of them stand still.
    Frozen,
}

impl KernelFreezer {
    /// The freezer at a place that was told; `None` if it is not that of a container.
    pub fn at(point: &FreezePoint) -> Option<Self> {
        let group = Group::of_freezer(&point.folder)?;
        let processes = group.freezer.join("cgroup.procs");
        Some(Self { group, processes })
    }

    /// Tells all processes to stand still; they do a moment later. May be taken back meanwhile.
    ///
    /// # Errors
    /// The container has ended, or the kernel refuses.
    pub fn freeze(&self) -> io::Result<()> {
        self.group.order(Order::Freeze)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// The container has ended, or the kernel refuses.
    pub fn thaw(&self) -> io::Result<()> {
        self.group.order(Order::Thaw)
    }

    /// What the kernel says.
    ///
    /// # Errors
    /// The container has ended.
    pub fn state(&self) -> io::Result<FreezerState> {
        Ok(match (self.group.ordered()?, self.group.is_frozen()?) {
            (_, true) => FreezerState::Frozen,
            (Order::Freeze, false) => FreezerState::Freezing,
            (Order::Thaw, false) => FreezerState::Thawed,
        })
    }

    /// Whether somebody else than `except` has a connection to one of its ports open: the node
    /// does not see what comes that way. Also answered while it is frozen.
    ///
    /// # Errors
    /// The container has ended.
    pub fn has_callers(&self, port: u16, except: &[IpAddr]) -> io::Result<bool> {
        let listed = std::fs::read_to_string(&self.processes)?;
        let Some(process) = listed.lines().next() else {
            return Ok(false);
        };
        let network = Path::new("/proc").join(process.trim()).join("net");
        for list in ["tcp", "tcp6"] {
            // Without IPv6 there is no second list.
            let Ok(text) = std::fs::read_to_string(network.join(list)) else {
                continue;
            };
            if callers(&text, port).any(|caller| !except.contains(&caller)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Who has a connection to a port open, out of the kernel's list.
fn callers(text: &str, port: u16) -> impl Iterator<Item = IpAddr> {
    text.lines().skip(1).filter_map(move |line| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, remote, state) = (columns.next()?, columns.next()?, columns.next()?);
        let local_port = u16::from_str_radix(local.split_once(':')?.1, 16).ok()?;
        let address = address_of(remote.split_once(':')?.0)?;
        (local_port == port && state == ESTABLISHED && !address.is_loopback()).then_some(address)
    })
}

/// An address as the kernel writes it: words of 32 bits in the machine's own order.
fn address_of(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for start in (0..text.len()).step_by(8) {
        let word = u32::from_str_radix(text.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_connections_to_a_port_are_found() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
            0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n\
            1: 030012AC:1F40 010012AC:D2F6 01 00000000:00000000 00:00000000 00000000\n\
            2: 030012AC:1F40 050012AC:D2F7 01 00000000:00000000 00:00000000 00000000\n\
            3: 030012AC:1F40 060012AC:D2F8 06 00000000:00000000 00:00000000 00000000\n\
            4: 030012AC:9C40 070012AC:1538 01 00000000:00000000 00:00000000 00000000\n";
        let found: Vec<String> = callers(text, 8000).map(|address| address.to_string()).collect();
        assert_eq!(found, ["172.18.0.1", "172.18.0.5"], "open ones to its own port alone");
    }

    #[test]
    fn a_caller_over_a_socket_for_both_protocols_is_the_same() {
        let address = address_of("0000000000000000FFFF0000050012AC").unwrap();
        assert_eq!(address.to_string(), "172.18.0.5");
        assert_eq!(address_of("XYZ"), None);
    }
}
