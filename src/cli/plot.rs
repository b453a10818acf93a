//! A chart of curves as SVG, readable on light and dark ground.

use std::fmt::Write as _;

/// A curve.
pub(super) struct Line {
    pub(super) name: String,
    /// From left to right.
    pub(super) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 480.0;
/// Left, top, right and bottom of the plotted area.
const AREA: [f64; 4] = [60.0, 20.0, 590.0, 430.0];

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

/// Draws curves with axes, a grid and a legend. Curves differ in hue and in dashes, so that a print in grey can be read.
pub(super) fn chart(x_title: &str, y_title: &str, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|l| &l.points);
    let bounds = |get: fn(&(f64, f64)) -> f64| {
        let (low, high) =
            all().map(get).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low < high { (low, high) } else { (low - 0.5, low + 0.5) }
    };
    let ((x0, x1), (y0, y1)) = (bounds(|p| p.0), bounds(|p| p.1));
    let [left, top, right, bottom] = AREA;
    let at_x = |x: f64| left + (x - x0) / (x1 - x0) * (right - left);
    let at_y = |y: f64| bottom - (y - y0) / (y1 - y0) * (bottom - top);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#777\" role=\"img\" aria-label=\"{} against {}\">\n",
        escaped(y_title),
        escaped(x_title)
    );
    // Writing to a String cannot fail.
    let mut draw = |text: String| {
        let _ = writeln!(svg, "{text}");
    };
    let ticks = |low: f64, high: f64| {
        let step = step(high - low);
        let first = (low / step).ceil() as i64;
        (first..).map(move |i| i as f64 * step).take_while(move |&v| v <= high + step * 1e-9)
    };
    let number = |v: f64| format!("{}", (v * 1e6).round() / 1e6);
    for x in ticks(x0, x1) {
        let at = at_x(x);
        draw(format!("<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#8884\"/>"));
        draw(format!(
            "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            number(x)
        ));
    }
    for y in ticks(y0, y1) {
        let at = at_y(y);
        draw(format!("<path d=\"M{left} {at:.1}H{right}\" stroke=\"#8884\"/>"));
        draw(format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            at + 4.0,
            number(y)
        ));
    }
    let (middle, centre) = (f64::midpoint(left, right), f64::midpoint(top, bottom));
    draw(format!(
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        HEIGHT - 8.0,
        escaped(x_title)
    ));
    draw(format!(
        "<text transform=\"translate(16 {centre}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        escaped(y_title)
    ));
    for (i, line) in lines.iter().enumerate() {
        // The golden angle keeps neighbours in the list apart in hue.
        let hue = (i as f64 * 137.508) % 360.0;
        let dash = ["", " stroke-dasharray=\"6 3\"", " stroke-dasharray=\"2 3\""][i % 3];
        let style = format!("fill=\"none\" stroke=\"hsl({hue:.0} 65% 50%)\" stroke-width=\"2\"{dash}");
        let path: Vec<String> =
            line.points.iter().map(|&(x, y)| format!("{:.1} {:.1}", at_x(x), at_y(y))).collect();
        let name = escaped(&line.name);
        draw(format!("<path d=\"M{}\" {style}><title>{name}</title></path>", path.join("L")));
        let y = top + 10.0 + 20.0 * i as f64;
        draw(format!("<path d=\"M{} {y}h24\" {style}/>", right + 16.0));
        draw(format!("<text x=\"{}\" y=\"{}\">{name}</text>", right + 46.0, y + 4.0));
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_curves_and_no_broken_numbers() {
        let line =
            |name: &str, points: &[(f64, f64)]| Line { name: name.to_owned(), points: points.to_vec() };
        let svg =
            chart("x", "y <", &[line("a&b", &[(0.3, 10.0), (0.9, 90.0)]), line("flat", &[(0.5, 50.0)])]);
        assert!(svg.contains("a&amp;b") && svg.contains("y &lt;") && svg.contains("flat"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(svg.contains("M60.0 430.0L590.0 20.0"), "corner to corner");
        assert!(!chart("x", "y", &[line("flat", &[(0.5, 50.0)])]).contains("NaN"));
    }
}
