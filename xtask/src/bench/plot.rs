//! Lines over message sizes, as SVG that follows the reader's light or dark theme.
//!
//! Invariant: the same data give the same bytes, so that a stale plot can be told by comparing.

use std::fmt::Write as _;

use super::figures;

/// A plot of figures over sizes.
pub(super) struct Plot {
    pub(super) title: String,
    /// The quantity of the vertical axis with its unit.
    pub(super) unit: &'static str,
    pub(super) scale: Scale,
    pub(super) series: Vec<Series>,
}

/// The vertical scale.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From zero.
    Linear,
    /// By powers.
    Log,
}

/// One line of a plot.
pub(super) struct Series {
    pub(super) name: String,
    /// Whether it is what another line is held against: dashed, in that line's colour if it follows it.
    pub(super) is_bare: bool,
    /// Bytes and figure, by rising bytes.
    pub(super) points: Vec<(u64, f64)>,
}

impl Plot {
    /// Draws the plot. A plot without points is an empty frame.
    pub(super) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n",
            escaped(&self.title)
        );
        let _ = writeln!(svg, "<text class=\"title\" x=\"{LEFT}\" y=\"22\">{}</text>", escaped(&self.title));
        self.legend(&mut svg);
        let (across, up) = (self.across(), self.up());
        self.grid(&mut svg, &across, &up);
        for (number, series) in self.series.iter().enumerate() {
            let (line, dot) = self.classes(number);
            let points: Vec<String> = series
                .points
                .iter()
                .map(|(bytes, value)| {
                    format!("{:.1},{:.1}", across.at((*bytes as f64).log2()), up.at(*value))
                })
                .collect();
            let _ = writeln!(svg, "<polyline class=\"{line}\" points=\"{}\"/>", points.join(" "));
            for point in points {
                let (x, y) = point.split_once(',').unwrap_or_default();
                let _ = writeln!(svg, "<circle class=\"{dot}\" cx=\"{x}\" cy=\"{y}\" r=\"3\"/>");
            }
        }
        svg + "</svg>\n"
    }

    fn legend(&self, svg: &mut String) {
        let mut x = LEFT;
        for (number, series) in self.series.iter().enumerate() {
            let (line, _) = self.classes(number);
            let end = x + SWATCH;
            let _ = writeln!(svg, "<path class=\"{line}\" d=\"M{x} 42H{end}\"/>");
            let _ = writeln!(svg, "<text x=\"{}\" y=\"46\">{}</text>", end + 6.0, escaped(&series.name));
            x = end + 24.0 + series.name.chars().count() as f64 * CHARACTER;
        }
    }

    fn grid(&self, svg: &mut String, across: &Span, up: &Span) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in self.ticks(up) {
            let y = up.at(value);
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>");
            let _ =
                writeln!(svg, "<text class=\"y\" x=\"{}\" y=\"{:.1}\">{label}</text>", LEFT - 8.0, y + 4.0);
        }
        let sizes = self.sizes();
        // Labels of 60 units' width do not touch; with more sizes some go without.
        let every = ((sizes.len() as f64 * LABEL / (right - LEFT)).ceil() as usize).max(1);
        for (number, bytes) in sizes.iter().enumerate() {
            let x = across.at((*bytes as f64).log2());
            let _ = writeln!(svg, "<path class=\"axis\" d=\"M{x:.1} {bottom}v5\"/>");
            if number % every == 0 {
                let text = figures::size(*bytes);
                let _ = writeln!(svg, "<text class=\"x\" x=\"{x:.1}\" y=\"{}\">{text}</text>", bottom + 20.0);
            }
        }
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>");
        let middle = f64::midpoint(LEFT, right);
        let _ = writeln!(
            svg,
            "<text class=\"x\" x=\"{middle}\" y=\"{}\">message size (logarithmic)</text>",
            HEIGHT - 10.0
        );
        let middle = f64::midpoint(TOP, bottom);
        let _ = writeln!(
            svg,
            "<text class=\"x\" transform=\"translate(16 {middle}) rotate(-90)\">{}</text>",
            escaped(self.unit)
        );
    }

    /// Returns the classes of a line and of its dots. A bare line has the colour of the last one that is not.
    fn classes(&self, number: usize) -> (String, String) {
        let colour = self.series[..=number].iter().filter(|one| !one.is_bare).count() % COLOURS;
        let bare = if self.series[number].is_bare { " bare" } else { "" };
        (format!("line c{colour}{bare}"), format!("d{colour}"))
    }

    fn sizes(&self) -> Vec<u64> {
        let mut sizes: Vec<u64> =
            self.series.iter().flat_map(|one| &one.points).map(|(bytes, _)| *bytes).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.series.iter().flat_map(|one| &one.points).map(|(_, value)| *value)
    }

    fn across(&self) -> Span {
        let sizes = self.sizes();
        let log = |bytes: Option<&u64>| bytes.map_or(0.0, |bytes| (*bytes as f64).log2());
        let (low, high) = (log(sizes.first()), log(sizes.last()));
        Span {
            low,
            high: high.max(low + 1.0),
            from: LEFT + 14.0,
            to: WIDTH - RIGHT - 14.0,
            scale: Scale::Linear,
        }
    }

    fn up(&self) -> Span {
        let highest = self.values().fold(0.0, f64::max).max(1e-9);
        let lowest = self.values().fold(highest, f64::min).max(highest * 1e-6);
        let (low, high) = match self.scale {
            Scale::Linear => (0.0, highest * 1.05),
            Scale::Log => (below(lowest), above(highest).max(below(lowest) * 2.0)),
        };
        Span { low, high, from: HEIGHT - BOTTOM, to: TOP, scale: self.scale }
    }

    /// Returns the values that get a line and a label.
    fn ticks(&self, up: &Span) -> Vec<(f64, String)> {
        let values: Vec<f64> = match self.scale {
            Scale::Linear => {
                let step = above(up.high / 6.0);
                (0..=6).map(|number| f64::from(number) * step).take_while(|value| *value <= up.high).collect()
            }
            Scale::Log => {
                let first = up.low.log10().floor() as i32;
                let all = (first..first + 12).flat_map(|power| STEPS.map(|step| step * 10f64.powi(power)));
                all.filter(|value| (up.low * 0.999..=up.high * 1.001).contains(value)).collect()
            }
        };
        values.into_iter().map(|value| (value, plain(value))).collect()
    }
}

/// Where a range of values lies on the picture.
struct Span {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    scale: Scale,
}

impl Span {
    fn at(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + (self.to - self.from) * part
    }
}

/// Returns the next of 1, 2, 5, 10, 20 and so on that is not less.
fn above(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    STEPS.into_iter().map(|step| step * power).find(|round| *round >= value * 0.9999).unwrap_or(10.0 * power)
}

/// Returns the last of 1, 2, 5, 10, 20 and so on that is not more.
fn below(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    STEPS.into_iter().rev().map(|step| step * power).find(|round| *round <= value * 1.0001).unwrap_or(power)
}

/// Returns a round number without needless zeros.
fn plain(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const STEPS: [f64; 3] = [1.0, 2.0, 5.0];
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 56.0;
const SWATCH: f64 = 24.0;
/// The width of a label on the horizontal axis, and of a character in the legend, at 12 units' height.
const LABEL: f64 = 62.0;
const CHARACTER: f64 = 6.6;
const COLOURS: usize = 6;
/// Colours twice, as not every program that shows SVG knows variables.
const STYLE: &str = "
svg{font:12px system-ui,'DejaVu Sans',sans-serif}
text{fill:#1f2328}.title{font-size:15px;font-weight:600}.x{text-anchor:middle}.y{text-anchor:end}
.grid{stroke:#d8dee4}.axis{stroke:#57606a;fill:none}.line{fill:none;stroke-width:2}.bare{stroke-dasharray:5 4}
.c0{stroke:#57606a}.c1{stroke:#0969da}.c2{stroke:#bc4c00}.c3{stroke:#1a7f37}.c4{stroke:#8250df}.c5{stroke:#bf3989}
.d0{fill:#57606a}.d1{fill:#0969da}.d2{fill:#bc4c00}.d3{fill:#1a7f37}.d4{fill:#8250df}.d5{fill:#bf3989}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}.grid{stroke:#30363d}.axis{stroke:#8b949e}
.c0{stroke:#8b949e}.c1{stroke:#58a6ff}.c2{stroke:#ffa657}.c3{stroke:#56d364}.c4{stroke:#d2a8ff}.c5{stroke:#ff9bce}
.d0{fill:#8b949e}.d1{fill:#58a6ff}.d2{fill:#ffa657}.d3{fill:#56d364}.d4{fill:#d2a8ff}.d5{fill:#ff9bce}
}
";

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(scale: Scale, points: &[(u64, f64)]) -> Plot {
        let one = |name: &str, is_bare| Series { name: name.into(), is_bare, points: points.to_vec() };
        let series = vec![one("gputcp", false), one("bare", true), one("a < b", false)];
        Plot { title: "A & B".into(), unit: "GB/s", scale, series }
    }

    /// Returns the coordinates of the circles.
    fn circles(svg: &str) -> Vec<(f64, f64)> {
        let number = |line: &str, name: &str| {
            line.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.parse::<f64>().ok()
        };
        let lines = svg.lines().filter(|line| line.starts_with("<circle"));
        lines.map(|line| (number(line, "cx").expect("cx"), number(line, "cy").expect("cy"))).collect()
    }

    #[test]
    fn every_point_is_inside_of_the_frame() {
        for scale in [Scale::Linear, Scale::Log] {
            for points in [&[][..], &[(1, 0.0)], &[(4096, 0.001), (1 << 30, 123.4)], &[(8, 5.0), (16, 5.0)]] {
                let found = circles(&plot(scale, points).svg());
                assert_eq!(found.len(), 3 * points.len());
                for (x, y) in found {
                    assert!(
                        (LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y),
                        "{x} {y}"
                    );
                }
            }
        }
    }

    #[test]
    fn equal_factors_of_size_are_equally_far_apart() {
        let found = circles(&plot(Scale::Linear, &[(1024, 1.0), (4096, 1.0), (16384, 2.0)]).svg());
        assert!((found[1].0 - found[0].0 - (found[2].0 - found[1].0)).abs() < 0.2, "{found:?}");
        assert!(found[2].1 < found[1].1, "more is higher: {found:?}");
    }

    #[test]
    fn names_are_escaped_and_a_bare_line_shares_its_colour() {
        let svg = plot(Scale::Linear, &[(1, 1.0)]).svg();
        assert!(svg.contains("A &amp; B") && svg.contains("a &lt; b"), "{svg}");
        for class in ["\"line c1\"", "\"line c1 bare\"", "\"line c2\""] {
            assert!(svg.contains(class), "{class}: {svg}");
        }
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!([0.3, 1.0, 1.1, 6.0, 45.0].map(above), [0.5, 1.0, 2.0, 10.0, 50.0]);
        assert_eq!([0.3, 1.0, 1.1, 6.0, 45.0].map(below), [0.2, 1.0, 1.0, 5.0, 20.0]);
        assert_eq!([0.0, 0.05, 2.0, 10.0, 1000.0].map(plain), ["0", "0.05", "2", "10", "1000"]);
    }
}
