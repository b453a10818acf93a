//! The drawing of a network: layers, joins and pools as boxes, with everything between them collapsed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::layout::{Layout, laid_out};
use super::parts::LayerSection;
use crate::graph::facts::Facts;
use crate::graph::{Graph, IdVec, NodeId, ValueId};
use crate::stats::layers;

/// The most boxes of a drawing; a larger one takes seconds to lay out and cannot be read.
const MOST: usize = 1500;
/// Operators that change the size of a tensor's planes.
const RESIZERS: [&str; 8] = [
    "AveragePool",
    "DepthToSpace",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "MaxPool",
    "Resize",
    "SpaceToDepth",
    "Upsample",
];

/// The drawing of a network as boxes and lines, in pixels.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Drawing {
    /// Boxes in the order of the graph.
    pub boxes: Vec<DrawnBox>,
    /// Lines from box to box.
    pub lines: Vec<DrawnLine>,
    /// Width and height of the drawing.
    pub size: [i64; 2],
    /// Number of boxes that a drawing would have, if there are too many to draw.
    pub too_many: Option<usize>,
}

/// The kind of a box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxKind {
    /// Input of the network.
    #[default]
    Input,
    /// Layer with constant weights.
    Layer,
    /// Node that joins several branches.
    Join,
    /// Pooling or another change of the size.
    Pool,
    /// Nodes with data-dependent shapes, which run after the rest.
    Host,
    /// Output of the network.
    Output,
}

impl BoxKind {
    /// Returns the width and height of a box, in pixels.
    fn size(self) -> [f64; 2] {
        match self {
            Self::Layer => [152.0, 46.0],
            Self::Join => [120.0, 26.0],
            Self::Pool => [160.0, 26.0],
            Self::Input | Self::Output | Self::Host => [152.0, 30.0],
        }
    }
}

/// A box of a drawing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DrawnBox {
    /// Kind of the box.
    pub kind: BoxKind,
    /// Place of the layer in [`super::Page::layers`], for a layer.
    pub layer: Option<usize>,
    /// Name of an input, output or layer, or operator of another node.
    pub text: String,
    /// Number of channels before and after the cut, if known.
    pub width: [Option<usize>; 2],
    /// Height and width of the planes, if there are any.
    pub planes: Vec<usize>,
    /// Left, top, width and height of the box.
    pub at: [i64; 4],
    /// Name of the tensor behind the box.
    #[serde(skip)]
    pub tensor: String,
}

/// A line of a drawing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DrawnLine {
    /// Place of the box where the line begins.
    pub from: usize,
    /// Place of the box where the line ends.
    pub to: usize,
    /// Points of the line.
    pub points: Vec<[i64; 2]>,
}

/// Draws a network whose layers are those of a page.
///
/// Nodes that take one drawn tensor and are neither layers nor change the size of planes belong to the box before
/// them. A node that takes several is a join. A concatenation that repeats all inputs of an earlier one continues it.
pub fn drawn(graph: &Graph, facts: &Facts, sections: &[LayerSection]) -> Drawing {
    let (boxes, lines) = Collapsed::of(graph, facts, sections);
    if boxes.len() > MOST {
        return Drawing { too_many: Some(boxes.len()), ..Drawing::default() };
    }
    let sizes: Vec<[f64; 2]> = boxes.iter().map(|b| b.kind.size()).collect();
    let Layout { centers, lines: routes, size } = laid_out(&sizes, &lines);
    let whole = |v: f64| v.round() as i64;
    let placed = boxes.into_iter().zip(&sizes).zip(&centers).map(|((drawn, [w, h]), [x, y])| DrawnBox {
        at: [whole(x - w / 2.0), whole(y - h / 2.0), whole(*w), whole(*h)],
        ..drawn
    });
    let routed = lines.iter().zip(routes).map(|(&[from, to], points)| DrawnLine {
        from,
        to,
        points: points.into_iter().map(|p| p.map(whole)).collect(),
    });
    Drawing { boxes: placed.collect(), lines: routed.collect(), size: size.map(whole), too_many: None }
}

impl Drawing {
    /// Adds the widths in the pruned network, whose tensors keep their names.
    pub fn shrunk(&mut self, graph: &Graph, facts: &Facts) {
        let by_name: HashMap<&str, ValueId> =
            graph.values.ids().map(|value| (graph.name(value), value)).collect();
        // A BatchNormalization that was folded into a layer takes the tensor between them away.
        let layers =
            graph.nodes.iter().filter_map(|node| Some((node.name.as_str(), (*node.outputs.first()?)?)));
        let by_layer: HashMap<&str, ValueId> = layers.collect();
        for drawn in &mut self.boxes {
            let of_layer = || by_layer.get(drawn.text.as_str()).filter(|_| drawn.kind == BoxKind::Layer);
            let value = by_name.get(drawn.tensor.as_str()).or_else(of_layer);
            drawn.width[1] = value.and_then(|&value| channels(facts.shape(value)));
        }
    }
}

/// Returns the number of channels of a tensor; `None` for a rank whose channel axis is not known.
fn channels(shape: &[usize]) -> Option<usize> {
    matches!(shape.len(), 2 | 4 | 5).then(|| shape[1])
}

/// A graph while its nodes are collapsed to boxes.
struct Collapsed<'a> {
    graph: &'a Graph,
    facts: &'a Facts,
    boxes: Vec<DrawnBox>,
    lines: BTreeSet<[usize; 2]>,
    /// The box from which each value comes; `None` for constants.
    source: IdVec<ValueId, Option<usize>>,
    /// The inputs of the concatenations so far, with their boxes.
    concatenations: Vec<(BTreeSet<ValueId>, usize)>,
    /// The box of all nodes of the host subgraph.
    host: Option<usize>,
}

impl<'a> Collapsed<'a> {
    fn of(graph: &'a Graph, facts: &'a Facts, sections: &[LayerSection]) -> (Vec<DrawnBox>, Vec<[usize; 2]>) {
        let source = graph.values.filled(None);
        let (boxes, lines) = (Vec::new(), BTreeSet::new());
        let mut all = Self { graph, facts, boxes, lines, source, concatenations: vec![], host: None };
        let places: BTreeMap<NodeId, usize> =
            layers(graph, facts).into_iter().enumerate().map(|(place, taps)| (taps.node, place)).collect();
        for input in graph.inputs.iter().filter(|input| !facts.is_constant(input.value)) {
            let name = graph.name(input.value).to_owned();
            let place = all.add(BoxKind::Input, name, Some(input.value));
            all.source[input.value] = Some(place);
        }
        for id in graph.nodes.ids() {
            all.node(id, places.get(&id).map(|&place| (place, &sections[place])));
        }
        for &output in &graph.outputs {
            if let Some(from) = all.source[output] {
                let place = all.add(BoxKind::Output, graph.name(output).to_owned(), Some(output));
                all.lines.insert([from, place]);
            }
        }
        (all.boxes, all.lines.into_iter().collect())
    }

    fn add(&mut self, kind: BoxKind, text: String, value: Option<ValueId>) -> usize {
        let shape = value.map_or(&[][..], |value| self.facts.shape(value));
        let width = channels(shape);
        self.boxes.push(DrawnBox {
            kind,
            text,
            width: [width, width],
            planes: if shape.len() == 4 { shape[2..].to_vec() } else { vec![] },
            tensor: value.map_or_else(String::new, |value| self.graph.name(value).to_owned()),
            ..DrawnBox::default()
        });
        self.boxes.len() - 1
    }

    /// Adds a node: as a box of its own, or as a part of the box before it.
    fn node(&mut self, id: NodeId, layer: Option<(usize, &LayerSection)>) {
        let node = &self.graph.nodes[id];
        let inputs: BTreeSet<ValueId> = node.inputs.iter().flatten().copied().collect();
        let sources: BTreeSet<usize> = inputs.iter().filter_map(|&value| self.source[value]).collect();
        let output = node.outputs.iter().flatten().copied().next();
        let own = if self.facts.is_data_dependent_node(self.graph, id) {
            let host = self.host.unwrap_or_else(|| self.add(BoxKind::Host, String::new(), None));
            self.host = Some(host);
            Some(host)
        } else if sources.is_empty() || output.is_none_or(|value| self.facts.is_constant(value)) {
            return;
        } else if let Some((place, section)) = layer {
            let own = self.add(BoxKind::Layer, section.name.clone(), output);
            self.boxes[own].layer = Some(place);
            self.boxes[own].width = section.width.map(Some);
            Some(own)
        } else if sources.len() > 1 {
            Some(self.add(BoxKind::Join, node.op_type.clone(), output))
        } else if self.resizes(id) {
            Some(self.add(BoxKind::Pool, node.op_type.clone(), output))
        } else {
            None
        };
        if let Some(own) = own {
            let from = if node.op_type == "Concat" { self.continued(&inputs, own) } else { sources.clone() };
            self.lines.extend(from.into_iter().filter(|&from| from != own).map(|from| [from, own]));
        }
        let source = own.or(sources.first().copied());
        for value in node.outputs.iter().flatten() {
            self.source[*value] = source;
        }
    }

    /// Returns the boxes from which lines lead to a concatenation.
    fn continued(&mut self, inputs: &BTreeSet<ValueId>, own: usize) -> BTreeSet<usize> {
        let earlier = self.concatenations.iter().filter(|(of, _)| of.is_subset(inputs));
        let longest = earlier.max_by_key(|(of, _)| of.len());
        let rest = inputs.iter().filter(|value| longest.is_none_or(|(of, _)| !of.contains(value)));
        let mut from: BTreeSet<usize> = rest.filter_map(|&value| self.source[value]).collect();
        from.extend(longest.map(|&(_, place)| place));
        self.concatenations.push((inputs.clone(), own));
        from
    }

    /// Returns whether a node changes the size of planes, or reduces them to a number each.
    fn resizes(&self, id: NodeId) -> bool {
        let node = &self.graph.nodes[id];
        let shape =
            |values: &[Option<ValueId>]| values.first().copied().flatten().map(|v| self.facts.shape(v));
        let (Some(before), Some(after)) = (shape(&node.inputs), shape(&node.outputs)) else { return false };
        let planes = || before.len() > 2 && before.get(..2) == after.get(..2);
        let reduced = || planes() && after[2..].iter().all(|&side| side == 1) && before[2..] != after[2..];
        RESIZERS.contains(&node.op_type.as_str()) || node.op_type.starts_with("Reduce") && reduced()
    }
}
