//! The layout of a drawing: layers of boxes by Sugiyama's method, wrapped into columns.
//!
//! The crate `dagre` places boxes from top to bottom and routes lines around them (Sugiyama, Tagawa & Toda 1981; Gansner
//! et al. 1993; Brandes & Köpf 2001). A long network would be a thin strip. Below a box from which all lines start that
//! lead further down, the strip may continue at the top of a new column.

use dagre::graph::{Graph, GraphOptions};
use dagre::{EdgeLabel, LayoutOptions, NodeLabel};

/// The distance of neighbouring boxes, in pixels.
const BOXES_APART: f64 = 22.0;
/// The distance of neighbouring ranks, in pixels.
const RANKS_APART: f64 = 30.0;
/// The distance of columns, in pixels.
const COLUMNS_APART: f64 = 72.0;
/// The margin around the drawing, in pixels.
const MARGIN: f64 = 16.0;
/// The wanted ratio of width to height.
const RATIO: f64 = 1.8;
/// The height up to which a drawing stays one column, in pixels.
const ONE_COLUMN: f64 = 640.0;

/// The places of boxes and lines, in pixels.
pub(super) struct Layout {
    /// Centres of the boxes.
    pub centers: Vec<[f64; 2]>,
    /// Points of the lines.
    pub lines: Vec<Vec<[f64; 2]>>,
    /// Width and height of everything.
    pub size: [f64; 2],
}

/// Places boxes of given widths and heights that lines connect. Lines lead from lower to higher places in the list.
pub(super) fn laid_out(sizes: &[[f64; 2]], lines: &[[usize; 2]]) -> Layout {
    let mut graph: Graph<NodeLabel, EdgeLabel> =
        Graph::with_options(GraphOptions { directed: true, multigraph: true, compound: true });
    for (i, &[width, height]) in sizes.iter().enumerate() {
        graph.set_node(i.to_string(), Some(NodeLabel { width, height, ..NodeLabel::default() }));
    }
    for [from, to] in lines {
        graph.set_edge(from.to_string(), to.to_string(), Some(EdgeLabel::default()), None);
    }
    let options = LayoutOptions {
        nodesep: BOXES_APART,
        edgesep: BOXES_APART / 2.0,
        ranksep: RANKS_APART,
        ..LayoutOptions::default()
    };
    dagre::layout(&mut graph, Some(options));
    let center = |i: usize| {
        let label = graph.node(&i.to_string());
        label.and_then(|label| Some([label.x?, label.y?])).unwrap_or_default()
    };
    let points = |[from, to]: &[usize; 2]| {
        let label = graph.edge(&from.to_string(), &to.to_string(), None);
        label.map_or_else(Vec::new, |label| straightened(label.points.iter().map(|p| [p.x, p.y])))
    };
    let strip = Strip {
        sizes,
        ends: lines,
        centers: (0..sizes.len()).map(center).collect(),
        lines: lines.iter().map(points).collect(),
    };
    strip.wrapped()
}

/// Leaves out points between two others on one straight line.
fn straightened(points: impl Iterator<Item = [f64; 2]>) -> Vec<[f64; 2]> {
    let mut kept: Vec<[f64; 2]> = Vec::new();
    for point in points {
        if let [.., a, b] = kept[..] {
            let turn = (b[0] - a[0]) * (point[1] - b[1]) - (b[1] - a[1]) * (point[0] - b[0]);
            if turn.abs() < 1.0 {
                kept.pop();
            }
        }
        kept.push(point);
    }
    kept
}

/// A layout in one column.
struct Strip<'a> {
    sizes: &'a [[f64; 2]],
    ends: &'a [[usize; 2]],
    centers: Vec<[f64; 2]>,
    lines: Vec<Vec<[f64; 2]>>,
}

impl Strip<'_> {
    fn top(&self, i: usize) -> f64 {
        self.centers[i][1] - self.sizes[i][1] / 2.0
    }

    fn bottom(&self, i: usize) -> f64 {
        self.centers[i][1] + self.sizes[i][1] / 2.0
    }

    /// Returns left, top, right and bottom of the boxes and lines between two heights.
    fn extent(&self, from: f64, to: f64) -> [f64; 4] {
        let within = |y: f64| from <= y && y < to;
        let boxes = (0..self.sizes.len()).filter(|&i| within(self.centers[i][1])).map(|i| {
            let half = self.sizes[i][0] / 2.0;
            [self.centers[i][0] - half, self.top(i), self.centers[i][0] + half, self.bottom(i)]
        });
        let points = self.lines.iter().flatten().filter(|p| within(p[1])).map(|&[x, y]| [x, y, x, y]);
        let all = boxes
            .chain(points)
            .reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]);
        all.unwrap_or_default()
    }

    /// Returns the heights between ranks that only lines from one box of the rank above pass, from the top.
    fn gaps(&self) -> Vec<f64> {
        let mut ranks: Vec<f64> = self.centers.iter().map(|c| c[1]).collect();
        ranks.sort_by(f64::total_cmp);
        ranks.dedup_by(|a, b| (*a - *b).abs() < 1.0);
        let passing = |y: f64| {
            let center = |i: usize| self.centers[i][1];
            self.ends
                .iter()
                .filter(move |ends| center(ends[0]) < y && y < center(ends[1]))
                .map(|ends| ends[0])
        };
        let is_gap = |above: f64, y: f64| {
            let first = passing(y).next().filter(|&from| (self.centers[from][1] - above).abs() < 1.0);
            first.is_some_and(|first| passing(y).all(|from| from == first))
        };
        let between = ranks.windows(2).map(|pair| (pair[0], f64::midpoint(pair[0], pair[1])));
        between.filter(|&(above, y)| is_gap(above, y)).map(|(_, y)| y).collect()
    }

    /// Returns the heights at which columns end, the last one excepted.
    fn cuts(&self) -> Vec<f64> {
        let [left, top, right, bottom] = self.extent(f64::NEG_INFINITY, f64::INFINITY);
        let height = bottom - top;
        if height <= ONE_COLUMN {
            return vec![];
        }
        let columns = (RATIO * height / (right - left + COLUMNS_APART)).sqrt().round().max(1.0);
        let wanted = (height / columns).max(ONE_COLUMN / 2.0);
        let (mut cuts, mut start) = (Vec::new(), top);
        for y in self.gaps() {
            // A short last column would only widen the drawing.
            if y - start >= wanted && bottom - y >= wanted / 4.0 {
                cuts.push(y);
                start = y;
            }
        }
        cuts
    }

    fn wrapped(self) -> Layout {
        let cuts = self.cuts();
        let starts = std::iter::once(f64::NEG_INFINITY).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([f64::INFINITY]);
        let (mut left, mut lowest) = (MARGIN, 0.0f64);
        let mut columns = Vec::new();
        for (from, to) in starts.zip(ends) {
            let [x0, y0, x1, y1] = self.extent(from, to);
            // Lines from the column before enter above the first rank.
            let entry = if from.is_finite() { RANKS_APART / 2.0 } else { 0.0 };
            let (offset, range) = ([left - x0, MARGIN + entry - y0], [left, left + x1 - x0]);
            columns.push(Column { end: to, offset, range });
            left += x1 - x0 + COLUMNS_APART;
            lowest = lowest.max(MARGIN + entry + y1 - y0);
        }
        let column = |y: f64| columns.iter().position(|column| y < column.end).unwrap_or(0);
        let home: Vec<usize> = self.centers.iter().map(|c| column(c[1])).collect();
        let moved = |[x, y]: [f64; 2], column: usize| {
            let [dx, dy] = columns[column].offset;
            [x + dx, y + dy]
        };
        let centers: Vec<[f64; 2]> = self.centers.iter().zip(&home).map(|(&c, &at)| moved(c, at)).collect();
        let lines = self.ends.iter().zip(&self.lines).map(|(&[from, to], points)| {
            let (first, last) = (home[from], home[to]);
            if first == last {
                return points.iter().map(|&p| moved(p, first)).collect();
            }
            // Down from the box, through the gap between the columns, and in from above.
            let end = columns[first].end;
            let down = centers[from][1] + self.sizes[from][1] / 2.0;
            let below = down + RANKS_APART / 2.0;
            let [low, high] = columns[last].range;
            let gutter = low - COLUMNS_APART / 2.0;
            let enter = moved(self.centers[from], last)[0].clamp(low, high);
            let trunk =
                [[centers[from][0], down], [centers[from][0], below], [gutter, below], [gutter, MARGIN]];
            let rest = points.iter().filter(|p| p[1] >= end - 0.5).map(|&p| moved(p, last));
            trunk.into_iter().chain([[enter, MARGIN]]).chain(rest).collect()
        });
        let lines = lines.collect();
        let size = [left - COLUMNS_APART + MARGIN, lowest + MARGIN + RANKS_APART / 2.0];
        Layout { centers, lines, size }
    }
}

/// A column of a wrapped layout.
struct Column {
    /// The height at which it ends, before the contents move.
    end: f64,
    /// The offset of its contents.
    offset: [f64; 2],
    /// Its left and right edge.
    range: [f64; 2],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(count: usize) -> Vec<[f64; 2]> {
        vec![[100.0, 40.0]; count]
    }

    /// Fails if boxes overlap, leave the drawing, or lines do not lead from box to box.
    fn check(sizes: &[[f64; 2]], ends: &[[usize; 2]]) -> Layout {
        let found = laid_out(sizes, ends);
        for (i, a) in found.centers.iter().enumerate() {
            for axis in 0..2 {
                let half = sizes[i][axis] / 2.0;
                assert!(a[axis] >= half && a[axis] + half <= found.size[axis], "box {i} at {a:?}");
            }
            for (j, b) in found.centers.iter().enumerate().skip(i + 1) {
                let apart =
                    |axis: usize| (a[axis] - b[axis]).abs() >= f64::midpoint(sizes[i][axis], sizes[j][axis]);
                assert!(apart(0) || apart(1), "boxes {i} and {j} overlap: {a:?} {b:?}");
            }
        }
        for (line, ends) in found.lines.iter().zip(ends) {
            for (point, &end) in [line[0], line[line.len() - 1]].iter().zip(ends) {
                let off =
                    |axis: usize| (point[axis] - found.centers[end][axis]).abs() - sizes[end][axis] / 2.0;
                assert!(off(0) < 1.0 && off(1) < 1.0, "a line ends at {point:?}, not at box {end}");
            }
        }
        found
    }

    #[test]
    fn a_long_chain_is_wrapped_into_columns() {
        let ends: Vec<[usize; 2]> = (0..59).map(|i| [i, i + 1]).collect();
        let found = check(&sizes(60), &ends);
        let ratio = found.size[0] / found.size[1];
        assert!(ratio > 1.0 && ratio < 3.0, "{:?}", found.size);
        let again = laid_out(&sizes(60), &ends);
        assert_eq!(found.centers, again.centers, "one layout for one network");
    }

    #[test]
    fn branches_stay_in_one_column() {
        // Residual blocks: each has a line around its two boxes.
        let block = |b: usize| [[2 * b, 2 * b + 1], [2 * b + 1, 2 * b + 2], [2 * b, 2 * b + 2]];
        let ends: Vec<[usize; 2]> = (0..30).flat_map(block).collect();
        let found = check(&sizes(61), &ends);
        assert!(found.size[0] > 0.7 * found.size[1], "columns end after joins: {:?}", found.size);
        let long = ends.iter().chain(&[[0, 60]]).copied().collect::<Vec<_>>();
        let found = check(&sizes(61), &long);
        assert!(found.size[0] < 600.0, "a line around everything leaves no gap: {:?}", found.size);
    }

    #[test]
    fn any_network_is_laid_out() {
        check(&sizes(1), &[]);
        check(&sizes(5), &[]);
        let mut seed = 1u64;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        for count in 2..40 {
            let mut ends: Vec<[usize; 2]> = (1..count).map(|to| [next(to), to]).collect();
            for _ in 0..count / 3 {
                let to = 1 + next(count - 1);
                ends.push([next(to), to]);
            }
            ends.sort_unstable();
            ends.dedup();
            check(&sizes(count), &ends);
        }
    }
}
