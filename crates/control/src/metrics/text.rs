//! The text format of Prometheus (version 0.0.4): families with their help and type, samples with
//! escaped labels. Whatever names come from outside, a sample stays one line.

use std::fmt::{Display, Write as _};

use weir_model::metrics::{BUCKETS_US, Histogram};

/// The media type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The media type of OpenMetrics.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Longest value of a label, in characters.
const LABEL: usize = 200;
const US_PER_S: u64 = 1_000_000;

/// What a family measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows, and begins anew with the node.
    Counter,
    /// It is as it is now.
    Gauge,
    Histogram,
}

/// The labels of a sample: names as they stand in the source, values from anywhere.
pub(super) type Labels<'a> = [(&'static str, &'a str)];

/// The text as it grows. Samples of one family follow each other.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn into_string(self) -> String {
        self.0
    }

    /// Begins a family.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing into memory does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample.
    pub(super) fn sample(&mut self, name: &str, labels: &Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.0, " {value}");
    }

    /// Adds the samples of a histogram of times.
    pub(super) fn histogram(&mut self, name: &str, labels: &Labels<'_>, times: &Histogram) {
        let mut sum = 0;
        let bounds = BUCKETS_US
            .iter()
            .map(|bound| seconds(*bound))
            .chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&times.buckets) {
            sum += count;
            let _ = write!(self.0, "{name}_bucket");
            self.labels(labels, Some(&bound));
            let _ = writeln!(self.0, " {sum}");
        }
        self.sample(&format!("{name}_sum"), labels, seconds(times.sum_us));
        self.sample(&format!("{name}_count"), labels, sum);
    }

    fn labels(&mut self, labels: &Labels<'_>, bound: Option<&str>) {
        let bound = bound.map(|bound| ("le", bound));
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            let _ = write!(self.0, "{separator}{name}=\"");
            self.escaped(value);
            self.0.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.0.push('}');
        }
    }

    fn escaped(&mut self, value: &str) {
        for letter in value.chars().take(LABEL) {
            match letter {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                letter => self.0.push(letter),
            }
        }
    }
}

/// The same as OpenMetrics has it: families of counters are named without `_total`, bounds are written
/// with a point, and there is an end.
pub(super) fn as_open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.lines() {
        let about = ["# HELP ", "# TYPE "].iter().find(|about| line.starts_with(**about));
        match about.and_then(|about| Some((about, line[about.len()..].split_once(' ')?))) {
            Some((about, (name, rest))) => {
                let _ = write!(out, "{about}{} {rest}", name.strip_suffix("_total").unwrap_or(name));
            }
            None => match line
                .split_once("le=\"")
                .and_then(|(before, rest)| Some((before, rest.split_once('"')?)))
            {
                Some((before, (bound, rest))) if bound.bytes().all(|byte| byte.is_ascii_digit()) => {
                    let _ = write!(out, "{before}le=\"{bound}.0\"{rest}");
                }
                _ => out.push_str(line),
            },
        }
        out.push('\n');
    }
    out.push_str("# EOF\n");
    out
}

/// Whether the one who asks would rather have OpenMetrics (`Accept`), as Prometheus does.
pub(super) fn wants_open_metrics(accept: &str) -> bool {
    let weight = |wanted: &str| {
        let kinds = accept.split(',').filter_map(|kind| {
            let mut parts = kind.split(';').map(str::trim);
            (parts.next()? == wanted).then_some(())?;
            let said = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            Some(said.unwrap_or(1.0_f32))
        });
        kinds.fold(0.0, f32::max)
    };
    weight("application/openmetrics-text") > weight("text/plain")
}

/// Microseconds as seconds, exactly: `0.0025`, `60`.
fn seconds(us: u64) -> String {
    let (whole, rest) = (us / US_PER_S, us % US_PER_S);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = format!("{rest:06}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stay_one_line_whatever_they_are_named() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "What it is.");
        text.sample("a_total", &[("path", "/\"\\\n} 1"), ("long", &"x".repeat(1_000))], 7);
        text.sample("a_total", &[], 8);
        let text = text.into_string();
        let long = "x".repeat(LABEL);
        let wanted = format!(
            "# HELP a_total What it is.\n# TYPE a_total counter\na_total{{path=\"/\\\"\\\\\\n}} 1\",long=\"{long}\"}} 7\na_total 8\n"
        );
        assert_eq!(text, wanted);
    }

    #[test]
    fn open_metrics_is_told_to_who_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert!(wants_open_metrics(prometheus) && wants_open_metrics("application/openmetrics-text"));
        for other in [
            "",
            "*/*",
            "text/plain",
            "text/plain, application/openmetrics-text;q=0.5",
        ] {
            assert!(!wants_open_metrics(other), "{other}");
        }
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "What it_total is.");
        text.sample("a_total", &[("le", "x")], 7);
        text.family("b", Kind::Histogram, "Times.");
        let mut buckets = vec![0; BUCKETS_US.len() + 1];
        buckets[15] = 1;
        text.histogram("b", &[], &Histogram { buckets, sum_us: 5 });
        let told = as_open_metrics(&text.into_string());
        assert!(told.starts_with("# HELP a What it_total is.\n# TYPE a counter\na_total{le=\"x\"} 7\n# HELP b Times.\n# TYPE b histogram\nb_bucket{le=\"0.001\"} 0\n"), "{told}");
        assert!(
            told.contains("b_bucket{le=\"60.0\"} 0\nb_bucket{le=\"+Inf\"} 1\n"),
            "{told}"
        );
        assert!(told.ends_with("b_count 1\n# EOF\n"), "{told}");
    }

    #[test]
    fn buckets_are_summed_up_and_bounds_are_seconds() {
        let mut buckets = vec![0; BUCKETS_US.len() + 1];
        (buckets[0], buckets[1], buckets[15]) = (2, 1, 4);
        let mut text = Text::default();
        let times = Histogram {
            buckets,
            sum_us: 1_500_000,
        };
        text.histogram("t", &[("a", "b")], &times);
        let text = text.into_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "t_bucket{a=\"b\",le=\"0.001\"} 2");
        assert_eq!(lines[1], "t_bucket{a=\"b\",le=\"0.0025\"} 3");
        assert_eq!(lines[14], "t_bucket{a=\"b\",le=\"60\"} 3");
        assert_eq!(lines[15], "t_bucket{a=\"b\",le=\"+Inf\"} 7");
        assert_eq!(lines[16..], ["t_sum{a=\"b\"} 1.5", "t_count{a=\"b\"} 7"]);
    }
}
