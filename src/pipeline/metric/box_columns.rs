//! The columns of a row that describes a box in a network's outputs, and the orders that they usually have.

use std::str::FromStr;

use crate::error::{Error, Result};

/// One or several columns of a row that describes a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BoxColumn {
    /// Left, top, right and bottom edge.
    Corners,
    /// Center, width and height.
    Center,
    /// Left and top edge, width and height.
    Origin,
    /// The probability that there is an object, a factor of its scores.
    Objectness,
    /// The score of the box.
    Score,
    /// The index of its class.
    Class,
    /// The number of the image in its batch.
    Image,
    /// A score for each class: all columns that are left.
    Scores,
}

use BoxColumn::{Center, Class, Corners, Image, Objectness, Origin, Score, Scores};

/// The names of columns in options.
const NAMES: [(&str, BoxColumn); 8] = [
    ("xyxy", Corners),
    ("cxcywh", Center),
    ("xywh", Origin),
    ("objectness", Objectness),
    ("score", Score),
    ("class", Class),
    ("image", Image),
    ("scores", Scores),
];

impl BoxColumn {
    /// Returns the number of columns; 0 for all that are left.
    pub(super) fn width(self) -> usize {
        match self {
            Corners | Center | Origin => 4,
            Scores => 0,
            _ => 1,
        }
    }
}

/// The order of the columns of a row that describes a box, such as `xyxy,score,class`.
///
/// The columns are `xyxy` (edges), `cxcywh` (center and size) or `xywh` (left, top and size); `objectness`; `score` and
/// `class`, or `scores` of all classes at the end; and `image`, the number of an image in its batch. For networks with
/// outputs of their own for scores, the coordinates alone say enough: `cxcywh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoxColumns(pub(super) Vec<BoxColumn>);

impl BoxColumns {
    /// Returns whether these are the coordinates alone.
    pub(super) fn is_plain(&self) -> bool {
        self.0.len() == 1
    }

    /// Returns whether a row may have so many columns.
    pub(super) fn fits(&self, columns: usize) -> bool {
        let width = width(&self.0);
        if self.0.contains(&Scores) { columns > width } else { columns == width }
    }

    /// Returns the orders that rows of so many columns usually have; coordinates are edges in all of them.
    pub(super) fn usual(columns: usize, is_transposed: bool) -> Vec<Self> {
        let dense = if is_transposed { vec![Corners, Scores] } else { vec![Corners, Objectness, Scores] };
        let orders = match columns {
            5 => vec![vec![Corners, Score]],
            6 if !is_transposed => vec![
                vec![Corners, Score, Class],
                vec![Class, Score, Corners],
                vec![Corners, Class, Score],
                dense,
            ],
            7 if !is_transposed => {
                vec![vec![Image, Corners, Class, Score], vec![Image, Class, Score, Corners], dense]
            }
            6.. => vec![dense],
            _ => vec![],
        };
        orders.into_iter().map(Self).collect()
    }

    /// Returns these columns with centers and sizes in place of edges.
    pub(super) fn centered(&self) -> Self {
        Self(self.0.iter().map(|&column| if column == Corners { Center } else { column }).collect())
    }
}

/// Returns the number of columns before those of `scores`.
pub(super) fn width(columns: &[BoxColumn]) -> usize {
    columns.iter().map(|column| column.width()).sum()
}

impl FromStr for BoxColumns {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let column =
            |name: &str| NAMES.iter().find(|(known, _)| *known == name.trim()).map(|(_, column)| *column);
        let columns: Option<Vec<BoxColumn>> = text.split(',').map(column).collect();
        let is_valid = |columns: &Vec<BoxColumn>| {
            let count =
                |wanted: &[BoxColumn]| columns.iter().filter(|column| wanted.contains(column)).count();
            let is_once = NAMES.iter().all(|(_, column)| count(&[*column]) <= 1);
            let is_plain = columns.len() == 1;
            let last = columns.iter().position(|&c| c == Scores).is_none_or(|at| at + 1 == columns.len());
            is_once
                && last
                && count(&[Corners, Center, Origin]) == 1
                && (is_plain || count(&[Score, Scores]) == 1)
        };
        columns.filter(is_valid).map(Self).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            Error::new("not the columns of boxes")
                .expected(format!("coordinates, and score or scores, of: {}", names.join(", ")))
                .got(format!("\"{text}\""))
                .remedy("for example xyxy,score,class or cxcywh,objectness,scores")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_parsed_and_counted() {
        let parsed = |text: &str| text.parse::<BoxColumns>();
        let yolo = parsed("cxcywh, objectness, scores").unwrap();
        assert_eq!(yolo.0, [Center, Objectness, Scores]);
        assert!(yolo.fits(85) && yolo.fits(6) && !yolo.fits(5));
        let rows = parsed("image,xyxy,class,score").unwrap();
        assert!(rows.fits(7) && !rows.fits(8) && !rows.is_plain());
        assert!(parsed("xywh").unwrap().is_plain());
        for wrong in
            ["", "score", "xyxy,class", "xyxy,scores,class", "xyxy,xyxy,score", "xyxy,score,scores", "box"]
        {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
