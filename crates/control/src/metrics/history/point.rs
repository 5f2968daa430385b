//! What was measured in one step of time, and how it is packed.
//!
//! A point is nothing but sums, so that the point of a long step is the sum of the points of the short
//! ones within it: rates, means and percentiles of any stretch are worked out from sums of that very
//! stretch, and are never averages of averages.

use weir_model::metrics::{BUCKETS, BUCKETS_US};

/// What is summed up in a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Figure {
    /// For how long control looked, in milliseconds. Counted for an environment as a whole.
    LookedMs,
    /// For how long it is known what the node served, in milliseconds. Of the environment, too.
    ServedMs,
    /// How often control looked. Of the environment, too.
    Looks,
    /// Requests that ended.
    Requests,
    /// Those of them with a status of 500 or more.
    Errors,
    /// CPU time, in millionths of a second of a core.
    CpuUs,
    /// Bytes of memory, once for each look at which all of it could be read.
    MemoryBytes,
    /// Instances that were ready, once for each look.
    Instances,
    /// Bytes sent to the world, as they are paid.
    EgressBytes,
    /// What it cost, in nano-units of the currency.
    CostNano,
    /// Looks at which the memory of an instance could not be read. Behind the histogram, so that points
    /// that were kept before there was this figure are read as they are.
    MemoryUnread = FIGURES + BUCKETS,
}

/// How many figures there are before the histogram of times.
const FIGURES: usize = 10;
/// All numbers of a point.
const NUMBERS: usize = FIGURES + BUCKETS + 1;
/// Bytes of a packed point in the worst case: a bit for each number, and ten bytes for each.
#[cfg(test)]
pub(super) const MOST_BYTES: usize = 4 + NUMBERS * 10;

/// Sums of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Point {
    numbers: [u64; NUMBERS],
}

impl Point {
    pub(super) fn get(&self, figure: Figure) -> u64 {
        self.numbers[figure as usize]
    }

    pub(super) fn add(&mut self, figure: Figure, more: u64) {
        let sum = &mut self.numbers[figure as usize];
        *sum = sum.saturating_add(more);
    }

    /// Adds times from head to head, by bucket.
    pub(super) fn add_times(&mut self, bucket: usize, more: u64) {
        if let Some(sum) = self.numbers[FIGURES..FIGURES + BUCKETS].get_mut(bucket) {
            *sum = sum.saturating_add(more);
        }
    }

    /// Adds all of another point.
    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, more) in self.numbers.iter_mut().zip(other.numbers) {
            *sum = sum.saturating_add(more);
        }
    }

    /// Of one look: where the memory of one instance could not be read, that of all is not known. A sum of
    /// the others would show as less than there was.
    pub(super) fn settle_memory(&mut self) {
        if self.get(Figure::MemoryUnread) > 0 {
            self.numbers[Figure::MemoryUnread as usize] = 1;
            self.numbers[Figure::MemoryBytes as usize] = 0;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbers.iter().all(|number| *number == 0)
    }

    /// The time that the part `quantile` (0 to 1) of all requests took at most, in seconds; within a
    /// bucket as if they were spread evenly. None without requests. What took longer than the highest
    /// bound is told as that bound.
    pub(super) fn quantile_s(&self, quantile: f64) -> Option<f64> {
        let buckets = &self.numbers[FIGURES..FIGURES + BUCKETS];
        let all = as_f64(buckets.iter().fold(0, |sum, count| sum.saturating_add(*count)));
        if all == 0.0 {
            return None;
        }
        let (wanted, mut below) = (quantile * all, 0.0);
        let mut from_us = 0;
        for (count, bound_us) in buckets.iter().zip(BUCKETS_US) {
            let count = as_f64(*count);
            if count > 0.0 && below + count >= wanted {
                let part = ((wanted - below) / count).clamp(0.0, 1.0);
                let span_us = as_f64(bound_us) - as_f64(from_us);
                return Some((as_f64(from_us) + part * span_us) / 1e6);
            }
            below += count;
            from_us = bound_us;
        }
        Some(as_f64(from_us) / 1e6)
    }

    /// Appends it: a bit for each number that is not 0, then these numbers, seven bits a byte.
    pub(super) fn pack(&self, out: &mut Vec<u8>) {
        let bits = self.numbers.iter().enumerate();
        let bits = bits.fold(0, |bits, (place, number)| bits | (u64::from(*number != 0) << place));
        pack_number(bits, out);
        for number in self.numbers.iter().filter(|number| **number != 0) {
            pack_number(*number, out);
        }
    }

    /// Takes one off the front; none if what is there is no point.
    pub(super) fn unpack(bytes: &mut &[u8]) -> Option<Self> {
        let bits = unpack_number(bytes)?;
        if bits >> NUMBERS != 0 {
            return None;
        }
        let mut point = Self::default();
        for (place, number) in point.numbers.iter_mut().enumerate() {
            if bits & (1 << place) != 0 {
                *number = unpack_number(bytes)?;
            }
        }
        Some(point)
    }
}

/// For showing: exact up to 2^53, which is more than any chart can tell apart.
#[expect(clippy::cast_precision_loss, reason = "figures for charts")]
pub(super) fn as_f64(number: u64) -> f64 {
    number as f64
}

pub(super) fn pack_number(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

pub(super) fn unpack_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u64::from(first & 0x7f);
        // Of the tenth byte only one bit is left.
        if low << shift >> shift != low {
            return None;
        }
        number |= low << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any point; most of its numbers are small or 0, as in life.
    pub(in crate::metrics::history) fn points() -> impl Strategy<Value = Point> {
        let number = prop_oneof![3 => Just(0), 3 => 0..1_000_u64, 1 => any::<u64>().prop_map(|number| number >> 14)];
        proptest::array::uniform27(number).prop_map(|numbers| Point { numbers })
    }

    fn times(counts: &[(usize, u64)]) -> Point {
        let mut point = Point::default();
        for (bucket, count) in counts {
            point.add_times(*bucket, *count);
        }
        point
    }

    #[test]
    fn percentiles_are_those_of_all_requests_together() {
        assert_eq!(Point::default().quantile_s(0.5), None);
        // 99 quick ones in one minute, one slow one in another: the mean of the two p99 would be wrong.
        let mut all = times(&[(0, 99)]);
        let slow = times(&[(10, 1)]);
        all.merge(&slow);
        let p99 = all.quantile_s(0.99).unwrap();
        assert!(p99 <= 0.001, "{p99}");
        assert!(all.quantile_s(0.999).unwrap() > 1.0);
        assert_eq!(times(&[(1, 4)]).quantile_s(0.5), Some(0.001 + 0.5 * 0.0015));
        assert_eq!(times(&[(BUCKETS - 1, 4)]).quantile_s(0.5), Some(60.0));
    }

    #[test]
    fn what_is_no_point_is_refused() {
        for bytes in [&[][..], &[0x80], &[1], &[0xff; 12], &[0x80, 0x80, 0x80, 0x80, 0x40]] {
            assert_eq!(Point::unpack(&mut { bytes }), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_point_is_unpacked_as_it_was_packed(point in points(), behind in any::<u8>()) {
            let mut bytes = Vec::new();
            point.pack(&mut bytes);
            prop_assert!(bytes.len() <= MOST_BYTES);
            bytes.push(behind);
            let mut rest = &bytes[..];
            prop_assert_eq!(Point::unpack(&mut rest), Some(point));
            prop_assert_eq!(rest, &[behind]);
        }

        #[test]
        fn a_percentile_lies_in_the_bucket_of_its_request(
            counts in proptest::collection::vec(0..50_u64, BUCKETS), quantile in 0.01..1.0_f64,
        ) {
            let point = times(&counts.iter().copied().enumerate().collect::<Vec<_>>());
            let all: u64 = counts.iter().sum();
            prop_assume!(all > 0);
            // The request of that rank, found by counting.
            let rank = quantile * as_f64(all);
            let mut seen = 0;
            let bucket = counts.iter().position(|count| { seen += count; *count > 0 && as_f64(seen) >= rank }).unwrap();
            let found = point.quantile_s(quantile).unwrap();
            let least = if bucket == 0 { 0.0 } else { as_f64(BUCKETS_US[bucket - 1]) / 1e6 };
            let most = BUCKETS_US.get(bucket).map_or(60.0, |bound| as_f64(*bound) / 1e6);
            prop_assert!(found >= least - 1e-9 && found <= most + 1e-9, "{} is not from {} to {}", found, least, most);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Point::unpack(&mut &bytes[..]);
        }
    }
}
