//! A chart of curves as SVG, readable on light and dark ground.

use std::fmt::Write as _;

/// A curve of the chart.
pub(super) struct Line {
    pub(super) name: String,
    /// Which of the looks it has.
    pub(super) look: usize,
    /// From left to right.
    pub(super) points: Vec<(f64, f64)>,
}

/// Curves on the same axes as those of the panels beside it.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) lines: Vec<Line>,
}

/// Width of a panel, and of the legend beside them.
const WIDTH: f64 = 560.0;
const LEGEND: f64 = 190.0;
const HEIGHT: f64 = 480.0;
/// Left, top, right and bottom of a panel's plotted area.
const AREA: [f64; 4] = [60.0, 30.0, 545.0, 430.0];

/// Text as XML takes it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A round step that cuts a range into about five parts.
fn step(range: f64) -> f64 {
    let raw = (range / 5.0).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|&s| s >= raw).unwrap_or(raw)
}

/// How a line is drawn. Looks differ in hue and in dashes, so that a print in grey can be read.
fn style(look: usize) -> String {
    // The golden angle keeps neighbours in the list apart in hue.
    let hue = (look as f64 * 137.508) % 360.0;
    let dash = ["", " stroke-dasharray=\"6 3\"", " stroke-dasharray=\"2 3\""][look % 3];
    format!("fill=\"none\" stroke=\"hsl({hue:.0} 65% 50%)\" stroke-width=\"2\"{dash}")
}

fn ticks(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let step = step(high - low);
    let first = (low / step).ceil() as i64;
    (first..).map(move |i| i as f64 * step).take_while(move |&v| v <= high + step * 1e-9)
}

fn number(v: f64) -> String {
    format!("{}", (v * 1e6).round() / 1e6)
}

/// Draws panels with axes, a grid and a legend; the legend goes by the first panel's order.
pub(super) fn chart(x_title: &str, y_title: &str, panels: &[Panel]) -> String {
    let all = || panels.iter().flat_map(|p| &p.lines);
    let bounds = |get: fn(&(f64, f64)) -> f64| {
        let points = all().flat_map(|l| &l.points).map(get);
        let (low, high) = points.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low < high { (low, high) } else { (low - 0.5, low + 0.5) }
    };
    let bounds = (bounds(|p| p.0), bounds(|p| p.1));
    let whole = WIDTH * panels.len() as f64;
    let (x_title, y_title) = (escaped(x_title), escaped(y_title));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#777\" role=\"img\" aria-label=\"{y_title} against {x_title}\">\n",
        whole + LEGEND
    );
    for (i, panel) in panels.iter().enumerate() {
        svg += &format!("<g transform=\"translate({} 0)\">\n", WIDTH * i as f64);
        draw(&mut svg, panel, bounds, (&x_title, &y_title));
        svg += "</g>\n";
    }
    let mut named: Vec<usize> = vec![];
    for line in all() {
        if named.contains(&line.look) {
            continue;
        }
        let y = AREA[1] + 10.0 + 20.0 * named.len() as f64;
        named.push(line.look);
        let (style, name) = (style(line.look), escaped(&line.name));
        svg += &format!("<path d=\"M{} {y}h24\" {style}/>\n", whole + 6.0);
        svg += &format!("<text x=\"{}\" y=\"{}\">{name}</text>\n", whole + 36.0, y + 4.0);
    }
    svg + "</svg>\n"
}

/// One panel, at the origin.
fn draw(
    svg: &mut String,
    panel: &Panel,
    ((x0, x1), (y0, y1)): ((f64, f64), (f64, f64)),
    (x_title, y_title): (&str, &str),
) {
    let [left, top, right, bottom] = AREA;
    let at_x = |x: f64| left + (x - x0) / (x1 - x0) * (right - left);
    let at_y = |y: f64| bottom - (y - y0) / (y1 - y0) * (bottom - top);
    // Writing to a String cannot fail.
    let mut draw = |text: String| {
        let _ = writeln!(svg, "{text}");
    };
    for x in ticks(x0, x1) {
        let (at, below) = (at_x(x), bottom + 18.0);
        draw(format!("<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#8884\"/>"));
        draw(format!("<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{}</text>", number(x)));
    }
    for y in ticks(y0, y1) {
        let (at, beside) = (at_y(y), left - 6.0);
        draw(format!("<path d=\"M{left} {at:.1}H{right}\" stroke=\"#8884\"/>"));
        draw(format!("<text x=\"{beside}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", at + 4.0, number(y)));
    }
    let (middle, centre, foot) = (f64::midpoint(left, right), f64::midpoint(top, bottom), HEIGHT - 8.0);
    let title = escaped(&panel.title);
    draw(format!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{title}</text>", top - 12.0));
    draw(format!("<text x=\"{middle}\" y=\"{foot}\" text-anchor=\"middle\">{x_title}</text>"));
    draw(format!(
        "<text transform=\"translate(16 {centre}) rotate(-90)\" text-anchor=\"middle\">{y_title}</text>"
    ));
    for line in &panel.lines {
        let path: Vec<String> =
            line.points.iter().map(|&(x, y)| format!("{:.1} {:.1}", at_x(x), at_y(y))).collect();
        let (style, name) = (style(line.look), escaped(&line.name));
        draw(format!("<path d=\"M{}\" {style}><title>{name}</title></path>", path.join("L")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_curves_and_no_broken_numbers() {
        let panel = |lines: &[(&str, &[(f64, f64)])]| Panel {
            title: "of <one>".to_owned(),
            lines: lines
                .iter()
                .enumerate()
                .map(|(look, (name, points))| Line {
                    name: (*name).to_owned(),
                    look,
                    points: points.to_vec(),
                })
                .collect(),
        };
        let both = panel(&[("a&b", &[(0.3, 10.0), (0.9, 90.0)]), ("flat", &[(0.5, 50.0)])]);
        let svg = chart("x", "y <", &[both, panel(&[("a&b", &[(0.4, 20.0)])])]);
        assert!(svg.contains("y &lt;") && svg.contains("flat") && svg.contains("of &lt;one&gt;"));
        assert_eq!(svg.matches("a&amp;b</text>").count(), 1, "one entry of the legend for both panels");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(svg.contains("M60.0 430.0L545.0 30.0"), "corner to corner");
        assert!(!chart("x", "y", &[panel(&[("flat", &[(0.5, 50.0)])])]).contains("NaN"));
    }
}
