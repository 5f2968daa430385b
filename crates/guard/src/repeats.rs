//! How often the same content was asked for among the descendants of one root.

use crate::descent::{WHOLE, scatter};

/// What a call asks for: target, method, path and query, length and the first bytes of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(u64);

impl ContentHash {
    /// Of a request's method, path with query, declared length of its body, and the body's
    /// beginning (of which the first 4 KiB count). No defence against collisions that are made
    /// on purpose: who makes them is only refused earlier.
    pub fn of(method: &str, path_and_query: &str, content_length: Option<u64>, first_bytes: &[u8]) -> Self {
        let first_bytes = &first_bytes[..first_bytes.len().min(4096)];
        let mut hash = scatter(content_length.map_or(0, |length| length.wrapping_add(1)));
        for bytes in [method.as_bytes(), path_and_query.as_bytes(), first_bytes] {
            hash = absorb(hash, bytes);
        }
        Self(hash)
    }

    /// The same content asked of another target is something else.
    pub(crate) fn at(self, target: u32) -> u64 {
        scatter(self.0 ^ u64::from(target).rotate_left(40))
    }
}

fn absorb(mut hash: u64, bytes: &[u8]) -> u64 {
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = scatter(hash ^ u64::from_le_bytes(word));
    }
    scatter(hash ^ bytes.len() as u64)
}

const ROWS: usize = 4;
const WIDTH: usize = 256;
const FEW: usize = 12;

/// Counts in a bounded space: exactly while there are few, then in a count-min sketch (4 rows of
/// 256 counters, 4 KiB), from whose estimate its noise is taken: what it says of contents that
/// never came.
#[derive(Debug)]
pub(crate) enum Repeats {
    Few(Vec<(u64, u32)>),
    Many(Box<[u32; ROWS * WIDTH]>),
}

impl Default for Repeats {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Repeats {
    /// Counts `weight` (of [`WHOLE`]) more of it and returns how often it was asked for, in
    /// whole calls.
    pub(crate) fn count(&mut self, content: u64, weight: u32) -> u32 {
        if let Self::Few(few) = self {
            if let Some((_, count)) = few.iter_mut().find(|(known, _)| *known == content) {
                *count = count.saturating_add(weight);
                return *count / WHOLE;
            }
            if few.len() < FEW {
                few.push((content, weight));
                return weight / WHOLE;
            }
            let few = std::mem::take(few);
            *self = Self::Many(Box::new([0; ROWS * WIDTH]));
            for (known, count) in few {
                self.add(known, count);
            }
        }
        self.add(content, weight)
    }

    /// Halves all counts: what was long ago counts less.
    pub(crate) fn halve(&mut self) {
        match self {
            Self::Few(few) => few.iter_mut().for_each(|(_, count)| *count /= 2),
            Self::Many(cells) => cells.iter_mut().for_each(|cell| *cell /= 2),
        }
    }

    fn add(&mut self, content: u64, weight: u32) -> u32 {
        let Self::Many(cells) = self else {
            return 0;
        };
        let places = places(content);
        let counted = least(cells, places).saturating_add(weight);
        // Only what is too low is raised, which keeps the noise small.
        for place in places {
            cells[place] = cells[place].max(counted);
        }
        let noise = NEVER_ASKED.map(|never| least(cells, self::places(never)));
        counted.saturating_sub(noise.into_iter().max().unwrap_or(0)) / WHOLE
    }
}

/// Contents that no request has.
const NEVER_ASKED: [u64; 3] = [0x5157_0001, 0x5157_0002, 0x5157_0003];

fn places(content: u64) -> [usize; ROWS] {
    std::array::from_fn(|row| {
        let mixed = scatter(content ^ (row as u64).rotate_left(56));
        row * WIDTH + usize::try_from(mixed % WIDTH as u64).unwrap_or(0)
    })
}

fn least(cells: &[u32; ROWS * WIDTH], places: [usize; ROWS]) -> u32 {
    places.iter().map(|place| cells[*place]).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_counted_among_thousands_that_are_not() {
        let mut repeats = Repeats::default();
        let mut most = 0;
        for page in 0..20_000_u64 {
            most = most.max(repeats.count(scatter(page), WHOLE));
        }
        assert!(most < 32, "content that came once looks like {most}");
        let back = (0..64).map(|_| repeats.count(7, WHOLE)).last().unwrap();
        assert!(
            (48..=96).contains(&back),
            "content that came 64 times looks like {back}"
        );
    }

    #[test]
    fn few_contents_are_counted_exactly() {
        let mut repeats = Repeats::default();
        for round in 1..=100 {
            for content in 0..10 {
                assert_eq!(repeats.count(content, WHOLE), round);
            }
        }
        repeats.halve();
        assert_eq!(repeats.count(3, WHOLE), 51);
    }

    #[test]
    fn content_differs_by_each_of_its_parts() {
        let hashes = [
            ContentHash::of("GET", "/a", None, b""),
            ContentHash::of("POST", "/a", None, b""),
            ContentHash::of("GET", "/b", None, b""),
            ContentHash::of("GET", "/a", Some(0), b""),
            ContentHash::of("GET", "/a", None, b"x"),
            ContentHash::of("GE", "T/a", None, b""),
        ];
        for (position, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..position].contains(hash));
        }
        assert_ne!(hashes[0].at(1), hashes[0].at(2));
    }
}
