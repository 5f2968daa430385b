//! How much of what an instance writes is kept: plenty in a burst, a bounded rate for ever.
//! Counted by the time at which a line was written, so that catching up after a restart of
//! control drops nothing that would have been kept.

use super::line::LONGEST_TEXT;

const LINES_PER_SECOND: i64 = 5_000;
const BURST_LINES: i64 = 20_000;
const BYTES_PER_SECOND: i64 = 1 << 20;
const BURST_BYTES: i64 = 4 << 20;
const SECOND_NS: i64 = 1_000_000_000;

/// Decides about the lines of one instance.
#[derive(Debug)]
pub(super) struct RateLimit {
    lines: Bucket,
    bytes: Bucket,
    dropped: u64,
    too_many_bytes: bool,
    last_notice_ns: i64,
}

impl RateLimit {
    pub(super) fn new() -> Self {
        Self {
            lines: Bucket::new(LINES_PER_SECOND, BURST_LINES),
            bytes: Bucket::new(BYTES_PER_SECOND, BURST_BYTES),
            dropped: 0,
            too_many_bytes: false,
            last_notice_ns: i64::MIN,
        }
    }

    /// Whether a line of this length, written at this instant, is kept.
    pub(super) fn admits(&mut self, at_ns: i64, length: usize) -> bool {
        let bytes = i64::try_from(length.min(LONGEST_TEXT)).unwrap_or(i64::MAX);
        self.lines.refill(at_ns);
        self.bytes.refill(at_ns);
        let (lines_ok, bytes_ok) = (self.lines.has(1), self.bytes.has(bytes));
        if lines_ok && bytes_ok {
            self.lines.take(1);
            self.bytes.take(bytes);
            return true;
        }
        self.dropped += 1;
        self.too_many_bytes |= lines_ok;
        false
    }

    /// Words about what was dropped, if something was and the last words are a second old.
    pub(super) fn notice(&mut self, at_ns: i64) -> Option<String> {
        if self.dropped == 0 || at_ns.saturating_sub(self.last_notice_ns) < SECOND_NS {
            return None;
        }
        self.last_notice_ns = at_ns;
        self.last_words()
    }

    /// Words about what was dropped since the last words, if anything was.
    pub(super) fn last_words(&mut self) -> Option<String> {
        let dropped = std::mem::take(&mut self.dropped);
        let bytes = std::mem::take(&mut self.too_many_bytes);
        let reason = if bytes { "1 MiB" } else { "5,000 lines" };
        (dropped > 0).then(|| {
            format!(
                "{} lines dropped (this instance writes more than {reason} a second)",
                with_separators(dropped)
            )
        })
    }
}

fn with_separators(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A token bucket; its level is counted in billionths of a token.
#[derive(Debug)]
struct Bucket {
    per_second: i64,
    capacity: i64,
    level: i64,
    last_ns: Option<i64>,
}

impl Bucket {
    fn new(per_second: i64, burst: i64) -> Self {
        let capacity = burst * SECOND_NS;
        Self {
            per_second,
            capacity,
            level: capacity,
            last_ns: None,
        }
    }

    fn refill(&mut self, at_ns: i64) {
        let last_ns = self.last_ns.unwrap_or(at_ns);
        // After a minute any bucket is full; clocks may also step back.
        let elapsed_ns = at_ns.saturating_sub(last_ns).clamp(0, 60 * SECOND_NS);
        self.level = self
            .capacity
            .min(self.level.saturating_add(elapsed_ns.saturating_mul(self.per_second)));
        self.last_ns = Some(at_ns.max(last_ns));
    }

    fn has(&self, tokens: i64) -> bool {
        self.level >= tokens.saturating_mul(SECOND_NS)
    }

    fn take(&mut self, tokens: i64) {
        self.level -= tokens.saturating_mul(SECOND_NS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_kept_at_the_rate_and_told_once_a_second() {
        let mut limit = RateLimit::new();
        let (mut kept, mut notices) = (0_i64, Vec::new());
        for index in 0..1_000_000_i64 {
            // 100,000 lines a second for ten seconds.
            let at_ns = index * 10_000;
            kept += i64::from(limit.admits(at_ns, 50));
            notices.extend(limit.notice(at_ns));
        }
        assert!(
            (BURST_LINES + 45_000..=BURST_LINES + 50_001).contains(&kept),
            "{kept} were kept"
        );
        assert!((9..=11).contains(&notices.len()), "{notices:?}");
        assert!(notices[5].ends_with("lines dropped (this instance writes more than 5,000 lines a second)"));
        assert!(
            notices[5].starts_with("95,0") || notices[5].starts_with("94,9"),
            "{}",
            notices[5]
        );
    }

    #[test]
    fn few_but_huge_lines_are_bounded_too() {
        let mut limit = RateLimit::new();
        let kept = (0..100_000_i64)
            .filter(|index| limit.admits(index * 100_000, 16 * 1024))
            .count();
        assert!(kept * 16 * 1024 <= 15 << 20, "{kept} were kept");
        assert!(limit.last_words().unwrap().contains("1 MiB a second"));
    }
}
