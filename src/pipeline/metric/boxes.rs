//! Agreement of a detector's boxes with those of the reference.
//!
//! The outputs are those of detectors that decode boxes in the file. Which column is which follows from names, shapes
//! and, over all images, from the values of the reference: edges are in order, scores lie between 0 and 1, classes are
//! whole numbers.

use super::box_columns::{BoxColumn, BoxColumns, width};
use super::builtin::{floats, reference};
use super::{JudgedImage, Measured, Meter, Metric, NamedTensor};
use crate::data::metrics::detection::{Detection, Matches};
use crate::error::{Error, Result};
use crate::tensor::show;

/// The least score of a box, unless another is asked for.
pub(super) const MIN_SCORE: f64 = 0.25;

/// The number of rows from which a class of most of them is the background.
const DENSE: usize = 100;

/// The F1 score of boxes: those of both networks that match, in percent.
#[derive(Clone, Debug)]
pub(super) struct Boxes {
    pub(super) columns: Option<BoxColumns>,
    pub(super) min_score: f64,
    /// False if the value is NaN, instead of an error, for outputs that turn out to hold no boxes.
    pub(super) is_asked: bool,
}

impl Metric for Boxes {
    fn name(&self) -> String {
        "box F1".to_owned()
    }

    fn unit(&self) -> &str {
        "%"
    }

    fn meter(&self) -> Result<Box<dyn Meter>> {
        Ok(Box::new(BoxMeter { of: self.clone(), found: None, failed: None }))
    }
}

/// The outputs that hold boxes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// Outputs with a row for each box.
    Rows { outputs: Vec<usize>, is_transposed: bool },
    /// Outputs of coordinates, scores and possibly classes.
    Separate { boxes: usize, scores: usize, classes: Option<usize> },
}

/// A possible meaning of the columns, with the matches that follow from it.
#[derive(Debug)]
struct Candidate {
    columns: BoxColumns,
    matches: Matches,
    /// True as long as the values of the reference allow it.
    is_possible: bool,
    /// True if the last column is the only score of a class, and may be the class instead.
    is_doubtful: bool,
}

struct BoxMeter {
    of: Boxes,
    found: Option<(Source, Vec<Candidate>)>,
    failed: Option<Error>,
}

/// One image's boxes, a row each.
struct Table {
    values: Vec<f32>,
    columns: usize,
}

impl Table {
    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.columns.max(1))
    }
}

/// Returns the sizes of an output's axes without those of length 1, but two axes at least if it has them.
fn squeezed(tensor: &NamedTensor) -> Vec<usize> {
    let mut shape = tensor.1.shape.clone();
    while shape.len() > 2 {
        let Some(one) = shape.iter().position(|&size| size == 1) else { break };
        shape.remove(one);
    }
    shape
}

fn named(tensor: &NamedTensor, words: &[&str]) -> bool {
    let name = tensor.0.to_lowercase();
    words.iter().any(|word| name.contains(word))
}

impl Source {
    /// Finds the outputs that hold boxes, and the possible orders of their columns.
    fn find(outputs: &[NamedTensor], asked: Option<&BoxColumns>) -> Option<(Self, Vec<BoxColumns>)> {
        if asked.is_none_or(BoxColumns::is_plain)
            && let Some(source) = Self::separate(outputs)
        {
            let Self::Separate { classes, .. } = source else { return None };
            let mut columns = asked.map_or_else(|| vec![BoxColumn::Corners], |asked| asked.0.clone());
            columns.extend(classes.map(|_| BoxColumn::Class));
            columns.push(BoxColumn::Scores);
            return Some((source, vec![BoxColumns(columns)]));
        }
        let form = |output: &NamedTensor| {
            let [rows, columns] = squeezed(output)[..] else { return None };
            let fits = |columns: usize| match asked {
                Some(asked) => asked.fits(columns),
                // N×K without another axis are class scores, unless they are few.
                None => columns >= 5 && (columns <= 7 || output.1.shape.len() > 2),
            };
            match (fits(columns), fits(rows)) {
                // A box has few numbers, and there are many boxes.
                (true, true) if rows < columns && !matches!(columns, 6 | 7) => Some((rows, true)),
                (true, _) => Some((columns, false)),
                (false, true) => Some((rows, true)),
                (false, false) => None,
            }
        };
        let first = outputs.iter().find_map(form)?;
        let places = (0..outputs.len()).filter(|&place| form(&outputs[place]) == Some(first));
        let (columns, is_transposed) = first;
        let orders =
            asked.map_or_else(|| BoxColumns::usual(columns, is_transposed), |asked| vec![asked.clone()]);
        (!orders.is_empty()).then(|| (Self::Rows { outputs: places.collect(), is_transposed }, orders))
    }

    /// Finds outputs of coordinates and scores, by names and else by shapes.
    fn separate(outputs: &[NamedTensor]) -> Option<Self> {
        const SCORES: [&str; 3] = ["score", "conf", "prob"];
        let is_boxes = |place: &usize| matches!(squeezed(&outputs[*place])[..], [_, 4]);
        let places = || 0..outputs.len();
        let boxes = places()
            .find(|place| is_boxes(place) && named(&outputs[*place], &["box"]))
            .or_else(|| places().find(|place| is_boxes(place) && !named(&outputs[*place], &SCORES)))?;
        let count = squeezed(&outputs[boxes])[0];
        let belongs = |place: &usize| {
            let shape = squeezed(&outputs[*place]);
            *place != boxes && shape.contains(&count) && !named(&outputs[*place], &["num", "box"])
        };
        let is_integer = |place: &usize| !outputs[*place].1.dtype.is_float();
        let is_score = |place: &usize| named(&outputs[*place], &SCORES);
        let is_class = |place: &usize| {
            !is_score(place)
                && outputs[*place].1.len() == count
                && (is_integer(place) || named(&outputs[*place], &["label", "class", "cls"]))
        };
        let others: Vec<usize> = places().filter(belongs).collect();
        let find = |wanted: &dyn Fn(&usize) -> bool| others.iter().copied().find(|place| wanted(place));
        let scores = find(&is_score).or_else(|| find(&|place| !is_integer(place) && !is_class(place)))?;
        Some(Self::Separate { boxes, scores, classes: find(&is_class).filter(|&place| place != scores) })
    }

    /// Returns the rows of an image.
    fn table(&self, outputs: &[NamedTensor]) -> Option<Table> {
        match self {
            Self::Rows { outputs: places, is_transposed } => {
                let mut table = Table { values: vec![], columns: 0 };
                for &place in places {
                    let [rows, columns] = squeezed(outputs.get(place)?)[..] else { return None };
                    let values = floats(&outputs[place].1);
                    table.columns = if *is_transposed { rows } else { columns };
                    if *is_transposed {
                        let row = |row: usize| values.iter().skip(row).step_by(columns).copied();
                        table.values.extend((0..columns).flat_map(row));
                    } else {
                        table.values.extend_from_slice(&values);
                    }
                }
                Some(table)
            }
            Self::Separate { boxes, scores, classes } => {
                let [count, _] = squeezed(outputs.get(*boxes)?)[..] else { return None };
                let (edges, all) = (floats(&outputs[*boxes].1), floats(&outputs.get(*scores)?.1));
                let each = all.len().checked_div(count).unwrap_or(1);
                let is_transposed = matches!(squeezed(&outputs[*scores])[..], [a, b] if b == count && a != count && count > 1);
                let classes = classes.map(|place| floats(&outputs[place].1));
                let mut values = Vec::with_capacity(count * (5 + each));
                for row in 0..count {
                    values.extend_from_slice(edges.get(4 * row..4 * row + 4)?);
                    values.extend(classes.as_ref().map(|classes| classes.get(row).copied().unwrap_or(-1.0)));
                    let place =
                        |class: usize| if is_transposed { class * count + row } else { row * each + class };
                    values.extend((0..each).map(|class| all[place(class)]));
                }
                Some(Table { values, columns: 4 + usize::from(classes.is_some()) + each })
            }
        }
    }
}

/// Returns the class that is the background: most of many rows, if the scores of all classes add up to 1.
fn background(table: &Table, columns: &BoxColumns) -> Option<usize> {
    let start = width(&columns.0);
    let has_scores = columns.0.last() == Some(&BoxColumn::Scores) && table.columns >= start + 2;
    let count = table.rows().count();
    if !has_scores || count < DENSE || columns.0.contains(&BoxColumn::Objectness) {
        return None;
    }
    let sums_to_one = |row: &[f32]| (row[start..].iter().sum::<f32>() - 1.0).abs() < 0.01;
    let mean =
        |class: usize| table.rows().map(|row| f64::from(row[start + class])).sum::<f64>() / count as f64;
    table.rows().all(sums_to_one).then(|| (0..table.columns - start).find(|&class| mean(class) > 0.5))?
}

/// Returns the detection of a row without regard to its score.
fn detection(row: &[f32], columns: &BoxColumns, background: Option<usize>) -> Detection {
    let mut at = 0;
    let mut found = Detection { edges: [0.0; 4], class: 0, score: 1.0 };
    let mut class = None;
    for &column in &columns.0 {
        let values = &row[at..];
        let number = |i: usize| f64::from(values[i]);
        match column {
            BoxColumn::Corners => found.edges = [number(0), number(1), number(2), number(3)],
            BoxColumn::Center => {
                let [x, y, w, h] = [number(0), number(1), number(2), number(3)];
                found.edges = [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0];
            }
            BoxColumn::Origin => {
                let [x, y, w, h] = [number(0), number(1), number(2), number(3)];
                found.edges = [x, y, x + w, y + h];
            }
            BoxColumn::Objectness | BoxColumn::Score => found.score *= number(0),
            BoxColumn::Class => class = Some(number(0).max(0.0) as usize),
            BoxColumn::Image => {}
            BoxColumn::Scores => {
                let scores = values.iter().enumerate().filter(|(place, _)| Some(*place) != background);
                let best = scores.max_by(|a, b| a.1.total_cmp(b.1)).map(|(place, &score)| (place, score));
                let (place, score) = best.unwrap_or((0, 0.0));
                found.class = place;
                found.score *= f64::from(score);
            }
        }
        at += column.width();
    }
    found.class = class.unwrap_or(found.class);
    found
}

impl Candidate {
    fn new(columns: BoxColumns, is_asked: bool) -> Self {
        Self { columns, matches: Matches::default(), is_possible: true, is_doubtful: !is_asked }
    }

    /// Adds the boxes of an image, and checks whether the reference's values fit the columns.
    fn add(&mut self, (reference, got): (&Table, &Table), of: &Boxes) {
        let background = background(reference, &self.columns);
        let boxes = |table: &Table| -> Vec<Detection> {
            let all = table.rows().map(|row| detection(row, &self.columns, background));
            all.filter(|found| found.score >= of.min_score).collect()
        };
        let expected = boxes(reference);
        if of.columns.is_none() {
            let in_order = |found: &Detection| {
                let [left, top, right, bottom] = found.edges;
                right >= left && bottom >= top
            };
            self.is_possible &= expected.iter().all(in_order) && reference.rows().all(|row| self.allows(row));
            let is_whole = |row: &[f32]| row.last().is_some_and(|value| value.fract() == 0.0);
            self.is_doubtful &= reference.columns == 6 && reference.rows().all(is_whole);
        }
        self.matches.add(expected, boxes(got));
    }

    /// Returns whether a row's numbers can be what the columns say, coordinates apart.
    fn allows(&self, row: &[f32]) -> bool {
        let is_share = |value: &f32| (-1e-3..=1.001).contains(value);
        let mut at = 0;
        self.columns.0.iter().all(|&column| {
            let values = &row[at..];
            at += column.width();
            match column {
                BoxColumn::Corners | BoxColumn::Center | BoxColumn::Origin => true,
                BoxColumn::Objectness | BoxColumn::Score => is_share(&values[0]),
                // Rows that fill an output up may have class −1.
                BoxColumn::Class | BoxColumn::Image => values[0].fract() == 0.0 && values[0] >= -1.0,
                BoxColumn::Scores => values.iter().all(is_share),
            }
        })
    }

    /// Returns whether whole numbers are taken for scores, although they may be classes.
    fn takes_class_for_score(&self) -> bool {
        self.columns.0.contains(&BoxColumn::Objectness) && self.is_doubtful
    }
}

impl BoxMeter {
    fn try_add(&mut self, image: &JudgedImage, expected: &[NamedTensor]) -> Result<()> {
        let no_boxes = || {
            let shapes: Vec<String> =
                expected.iter().map(|(name, tensor)| format!("{name} ({})", show(&tensor.shape))).collect();
            Error::new("no output holds boxes")
                .expected("rows of a box each (N×K×6, N×K×85, N×84×K), or boxes N×K×4 beside scores")
                .got(shapes.join(", "))
                .remedy("set `boxes` to the columns of a row, or another `metric`")
        };
        if self.found.is_none() {
            let asked = self.of.columns.as_ref();
            let (source, orders) = Source::find(expected, asked).ok_or_else(no_boxes)?;
            let mut candidates = orders.clone();
            if asked.is_none() {
                candidates.extend(orders.iter().map(BoxColumns::centered));
            }
            self.found = Some((
                source,
                candidates.into_iter().map(|columns| Candidate::new(columns, asked.is_some())).collect(),
            ));
        }
        let Some((source, candidates)) = &mut self.found else { return Ok(()) };
        let tables = source.table(expected).zip(source.table(image.outputs));
        let (expected, got) = tables
            .filter(|(expected, got)| {
                expected.columns == got.columns || expected.values.is_empty() || got.values.is_empty()
            })
            .ok_or_else(no_boxes)?;
        candidates.iter_mut().for_each(|candidate| candidate.add((&expected, &got), &self.of));
        // Only the last column's form depends on later images.
        if candidates.iter().any(|candidate| candidate.is_possible) {
            candidates.retain(|candidate| candidate.is_possible);
        }
        Ok(())
    }

    fn measured(self) -> Result<Measured> {
        let min_score = self.of.min_score;
        let nothing = || {
            Error::new(format!("the original has no box with a score of {min_score} or more"))
                .expected("images of objects that it detects")
                .remedy("check the preprocessing, lower `min_score`, or set another `metric`")
        };
        let (_, mut candidates) = self.found.ok_or_else(nothing)?;
        candidates.retain(|candidate| candidate.is_possible && !candidate.takes_class_for_score());
        let mut orders: Vec<BoxColumns> = candidates.iter().map(|c| c.columns.centered()).collect();
        orders.dedup();
        if !candidates.is_empty() && candidates.iter().all(|c| c.matches.reference_boxes() == 0) {
            return Err(nothing());
        }
        // Edges come first: their order is the stricter condition.
        match (candidates.into_iter().next(), orders.len()) {
            (Some(best), 1) if best.matches.reference_boxes() == 0 => Err(nothing()),
            (Some(best), 1) => Ok(best.matches.f1()),
            (_, orders) => Err(Error::new("the columns of the boxes are not known")
                .expected("edges or centers and sizes, scores from 0 to 1, classes that are whole numbers")
                .got(if orders == 0 { "other numbers" } else { "numbers that may mean several things" })
                .remedy("set `boxes` to the order of the columns, as in xyxy,score,class")),
        }
    }
}

impl Meter for BoxMeter {
    fn add(&mut self, image: &JudgedImage) -> Result<()> {
        let expected = reference(image, "boxes")?;
        if self.failed.is_some() {
            return Ok(());
        }
        match self.try_add(image, expected) {
            Err(error) if !self.of.is_asked => {
                self.failed = Some(error);
                Ok(())
            }
            result => result,
        }
    }

    fn finish(self: Box<Self>) -> Result<Measured> {
        let is_asked = self.of.is_asked;
        let measured = match self.failed {
            Some(error) => Err(error),
            None => self.measured(),
        };
        match measured {
            Err(_) if !is_asked => Ok(Measured::of_set(f64::NAN)),
            measured => measured,
        }
    }
}
