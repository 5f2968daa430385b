//! The help of an app: a header that it takes from the request that it serves to the calls that
//! it makes. What it says was signed here, so it cannot be made up; missing or changed, it is as
//! if it was not there. It can only make the guard stricter.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::descent::RootId;

/// The header's name.
pub const LINEAGE_HEADER: &str = "weir-lineage";

const MAC_DIGITS: usize = 32;
const LONGEST: usize = 16 + 1 + 10 + 1 + 20 + 1 + MAC_DIGITS;
const BLOCK: usize = 64;

/// Signs lineages. Several nodes that share one understand each other's.
#[derive(Clone)]
pub struct LineageKey {
    inner: Sha256,
    outer: Sha256,
}

impl fmt::Debug for LineageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LineageKey(…)")
    }
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lineage {
    pub(crate) root: RootId,
    pub(crate) depth: u32,
    /// Further descendants that the root may have.
    pub(crate) budget: u64,
}

impl LineageKey {
    /// From 32 random bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        let padded = |pad: u8| {
            let mut block = [pad; BLOCK];
            for (byte, key) in block.iter_mut().zip(secret) {
                *byte ^= key;
            }
            Sha256::new_with_prefix(block)
        };
        Self {
            inner: padded(0x36),
            outer: padded(0x5c),
        }
    }

    pub(crate) fn write(&self, lineage: Lineage) -> String {
        let mut text = format!("{:016x};{};{}", lineage.root, lineage.depth, lineage.budget);
        let mac = self.mac(text.as_bytes());
        text.push(';');
        push_hex(&mut text, &mac[..MAC_DIGITS / 2]);
        text
    }

    /// What was signed here; `None` for anything else.
    pub(crate) fn read(&self, text: &str) -> Option<Lineage> {
        if text.len() > LONGEST {
            return None;
        }
        let (signed, given) = text.rsplit_once(';')?;
        let mut expected = String::with_capacity(MAC_DIGITS);
        push_hex(&mut expected, &self.mac(signed.as_bytes())[..MAC_DIGITS / 2]);
        if !bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
            return None;
        }
        let mut fields = signed.split(';');
        Some(Lineage {
            root: RootId::from_str_radix(fields.next()?, 16).ok()?,
            depth: fields.next()?.parse().ok()?,
            budget: fields.next()?.parse().ok()?,
        })
    }

    /// HMAC with SHA-256 (RFC 2104); both hashes have taken the key's block beforehand.
    fn mac(&self, message: &[u8]) -> [u8; 32] {
        let mut inner = self.inner.clone();
        inner.update(message);
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().into()
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
}

fn hex_digit(byte: u8) -> Option<u64> {
    match byte {
        b'0'..=b'9' => Some(u64::from(byte - b'0')),
        b'a'..=b'f' => Some(u64::from(byte - b'a') + 10),
        b'A'..=b'F' => Some(u64::from(byte - b'A') + 10),
        _ => None,
    }
}

/// The trace id of a `traceparent` header (W3C Trace Context); 0 for none.
pub(crate) fn trace_id(traceparent: &str) -> u128 {
    // Each request passes here, so that it is read by hand.
    let [first, second, b'-', rest @ ..] = traceparent.trim().as_bytes() else {
        return 0;
    };
    let (id, after) = rest.split_at(rest.len().min(32));
    if *first == b'-' || *second == b'-' || id.len() < 32 || !matches!(after, [] | [b'-', ..]) {
        return 0;
    }
    let half = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0_u64, |number, byte| Some(number << 4 | hex_digit(*byte)?))
    };
    match (half(&id[..16]), half(&id[16..])) {
        (Some(high), Some(low)) => u128::from(high) << 64 | u128::from(low),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        // Test case 2 of the RFC, whose key is shorter than a block: zeros change nothing.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mut text = String::new();
        push_hex(&mut text, &LineageKey::new(key).mac(b"what do ya want for nothing?"));
        assert_eq!(text, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_lineage_reads_back_and_nothing_else_does() {
        let key = LineageKey::new([7; 32]);
        let lineage = Lineage {
            root: u64::MAX >> 1,
            depth: 3,
            budget: 997,
        };
        let text = key.write(lineage);
        assert_eq!(key.read(&text), Some(lineage));
        assert_eq!(LineageKey::new([8; 32]).read(&text), None);
        for position in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[position] ^= 1;
            assert_eq!(key.read(&String::from_utf8(changed).unwrap()), None);
        }
        assert_eq!(key.read(""), None);
        assert_eq!(key.read(&";".repeat(1000)), None);
    }

    #[test]
    fn a_trace_id_is_found_where_there_is_one() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id(given), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        for none in ["", "00", "00-xyz-1-01", "00-00000000000000000000000000000000-1-01"] {
            assert_eq!(trace_id(none), 0);
        }
    }
}
