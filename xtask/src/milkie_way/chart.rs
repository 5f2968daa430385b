//! Money over time as a picture: both axes logarithmic, 72,000 against 7.

use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 50.0;
/// A tenth of a second to a day; a tenth of a cent to a hundred thousand.
const SECONDS: (f64, f64) = (-1.0, 5.0);
const DOLLARS: (f64, f64) = (-3.0, 5.0);

/// A line: its name, its colour, seconds and dollars.
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) colour: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// The picture, as SVG.
pub(super) fn svg(curves: &[Curve]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"{LEFT}\" y=\"26\" \
         font-size=\"16\">The 72,000-dollar night: money spent since the first request (cap: $7)</text>\n"
    );
    axes(&mut out);
    for (number, curve) in curves.iter().enumerate() {
        let mut path = String::new();
        for (seconds, dollars) in thinned(&curve.points) {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", x(seconds), y(dollars));
        }
        let colour = curve.colour;
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        let row = TOP + 20.0 + 22.0 * number as f64;
        let from = WIDTH - RIGHT + 12.0;
        let _ = writeln!(
            out,
            "<path d=\"M{from} {row}h18\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{}\" y=\"{}\">{}</text>",
            from + 24.0,
            row + 4.0,
            curve.name
        );
    }
    out.push_str("</svg>\n");
    out
}

fn axes(out: &mut String) {
    let line = |out: &mut String, x1: f64, y1: f64, x2: f64, y2: f64, colour: &str| {
        let _ = writeln!(
            out,
            "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"{colour}\"/>"
        );
    };
    let (low, high) = (LEFT, WIDTH - RIGHT);
    for (dollars, name) in [
        (0.001, "$0.001"),
        (0.01, "$0.01"),
        (0.1, "$0.10"),
        (1.0, "$1"),
        (10.0, "$10"),
        (100.0, "$100"),
        (1e3, "$1,000"),
        (1e4, "$10,000"),
        (1e5, "$100,000"),
    ] {
        line(out, low, y(dollars), high, y(dollars), "#ddd");
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 8.0,
            y(dollars) + 4.0
        );
    }
    for (seconds, name) in [
        (0.1, "0.1 s"),
        (1.0, "1 s"),
        (10.0, "10 s"),
        (60.0, "1 min"),
        (600.0, "10 min"),
        (3_600.0, "1 h"),
        (86_400.0, "1 day"),
    ] {
        line(out, x(seconds), TOP, x(seconds), HEIGHT - BOTTOM, "#ddd");
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
            x(seconds),
            HEIGHT - BOTTOM + 18.0
        );
    }
    let _ = writeln!(
        out,
        "<path d=\"M{low} {0:.1}H{high}\" stroke=\"#000\" stroke-dasharray=\"6 4\"/><text x=\"{1}\" y=\"{2:.1}\">the cap</text>",
        y(7.0),
        high - 50.0,
        y(7.0) - 6.0
    );
}

/// Points that differ in the picture.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for point in points.iter().copied().filter(|point| point.0 > 0.0 && point.1 > 0.0) {
        let near = |last: &(f64, f64)| (x(last.0) - x(point.0)).abs() < 0.7 && (y(last.1) - y(point.1)).abs() < 0.7;
        if !kept.last().is_some_and(near) {
            kept.push(point);
        }
    }
    kept
}

fn x(seconds: f64) -> f64 {
    LEFT + part(seconds, SECONDS) * (WIDTH - RIGHT - LEFT)
}

fn y(dollars: f64) -> f64 {
    HEIGHT - BOTTOM - part(dollars, DOLLARS) * (HEIGHT - BOTTOM - TOP)
}

fn part(value: f64, (low, high): (f64, f64)) -> f64 {
    ((value.max(1e-12).log10() - low) / (high - low)).clamp(0.0, 1.0)
}
