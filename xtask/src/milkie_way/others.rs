//! The night under the policies of others: computed, not run. Requests double (or more) every
//! 0.4 s until the database is saturated, stay there until 116 thousand million reads are done,
//! and machines go on working for nobody until somebody stops them.

/// Nano-units of one request, without the machine that serves it.
const REQUEST_NANO: f64 = 3_515.0 * 600.0 + 1_800.0 + 400.0;
/// Of it, what the platform's own meter of requests and machines sees.
const REQUEST_RUN_NANO: f64 = 400.0;
/// Nano-units of one machine for a second.
const MACHINE_NANO: f64 = 24_625.0;
const MACHINES: f64 = 1_000.0;
/// Requests a second at which the database is saturated, and all that were made.
const PEAK: f64 = 4_741.0;
const REQUESTS: f64 = 33.0e6;
/// Seconds of one request, and until machines are there.
const LATENCY_S: f64 = 0.4;
const COLD_START_S: f64 = 2.0;
/// Until it was stopped by hand, in seconds.
const DAY_S: f64 = 86_400.0;
/// Machine-seconds of the whole night.
const MACHINE_SECONDS: f64 = 16_022.0 * 3_600.0;
/// Of them, those after the last request.
const ZOMBIE_HOURS: f64 = 14_090.0;
const STEP_S: f64 = 0.1;

/// Seconds, nano-units in all, and those that only the machines' meter sees.
pub(super) type Point = (f64, f64, f64);

/// What the night cost until each instant, for pages with so many links.
pub(super) fn night(links: u32) -> Vec<Point> {
    let links = f64::from(links);
    let mut points = Vec::new();
    let (mut at, mut requests, mut machine_seconds) = (0.0, 1.0, 0.0);
    while at < DAY_S {
        let growing = links.powf((at - COLD_START_S).max(0.0) / LATENCY_S) * links.ln() / LATENCY_S;
        let pace = if requests >= REQUESTS { 0.0 } else { growing.min(PEAK) };
        let machines = match requests >= REQUESTS {
            true => MACHINES,
            false => (pace / PEAK * MACHINES).max(1.0),
        };
        requests += pace * STEP_S;
        if machine_seconds < MACHINE_SECONDS {
            machine_seconds += machines * STEP_S;
        }
        at += STEP_S;
        let machine_nano = machine_seconds * MACHINE_NANO;
        let run = requests * REQUEST_RUN_NANO + machine_nano;
        points.push((at, requests * REQUEST_NANO + machine_nano, run));
    }
    points
}

/// When a total reaches an amount, in seconds.
pub(super) fn reaches(points: &[Point], nano: f64, of: impl Fn(&Point) -> f64) -> Option<f64> {
    points.iter().find(|point| of(point) >= nano).map(|point| point.0)
}

/// What was spent until then, in nano-units.
pub(super) fn spent_at(points: &[Point], at_s: f64) -> f64 {
    let before = points.iter().take_while(|point| point.0 <= at_s);
    before.last().map_or(0.0, |point| point.1)
}

/// The machines that went on after the last request, until they were stopped by hand: when that
/// was, in seconds, and what they cost.
pub(super) fn zombies() -> (f64, f64) {
    let seconds = ZOMBIE_HOURS * 3_600.0;
    (seconds / MACHINES, seconds * MACHINE_NANO)
}

/// What a limit of the depth alone lets through: all generations up to it.
pub(super) fn depth_only(links: u32, depth: u32) -> f64 {
    let requests: f64 = (0..=depth)
        .map(|generation| f64::from(links).powf(f64::from(generation)))
        .sum();
    requests * REQUEST_NANO
}

/// Two machines with one request at a time: what a day of it costs, and when an amount is reached.
pub(super) fn two_machines(nano: f64) -> (f64, f64) {
    let per_s = 2.0 / LATENCY_S * REQUEST_NANO + 2.0 * MACHINE_NANO;
    (per_s * DAY_S, nano / per_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_night_cost_a_little_short_of_72_000() {
        let night = night(3);
        let (_, all, _) = night[night.len() - 1];
        assert!((70_000.0e9..72_000.0e9).contains(&all), "{all}");
        let seven = reaches(&night, 7.0e9, |point| point.1).unwrap();
        assert!((3.0..8.0).contains(&seven), "{seven}");
        // A minute at the peak costs about 602.
        let minute = spent_at(&night, 120.0) - spent_at(&night, 60.0);
        assert!((595.0e9..610.0e9).contains(&minute), "{minute}");
    }

    #[test]
    fn a_depth_of_16_lets_131_071_requests_through() {
        assert!((depth_only(2, 16) / REQUEST_NANO - 131_071.0).abs() < 1.0);
    }
}
