//! Scores of the user's own.

use std::collections::HashMap;
use std::path::Path;

use super::{Missing, Needs, Row, Score};
use crate::error::{Error, Result};

/// The criterion's row.
pub(super) static ROW: Row = Row {
    name: "file:SCORES.csv",
    formula: "yours: CSV with the columns node,channel,score",
    source: "you",
    needs: Needs::WEIGHTS,
    score: |site| {
        let score = |c| site.context.table.get(&(site.node.to_owned(), c));
        let scores = (0..site.channels).map(|c| score(c).map(|&value| Score { value, error: Some(0.0) }));
        scores
            .collect::<Option<_>>()
            .ok_or(Missing("the file has no score for every channel", "add the rows"))
    },
};

/// Scores by node and channel.
pub(super) type Table = HashMap<(String, usize), f64>;

/// Reads such a file.
pub(super) fn read(path: &Path) -> Result<Table> {
    #[derive(serde::Deserialize)]
    struct Line {
        node: String,
        channel: usize,
        score: f64,
    }
    let bad = |e: csv::Error| match e.kind() {
        csv::ErrorKind::Io(e) => Error::io("read the scores", path, e),
        _ => Error::new("not a file of scores")
            .file(path)
            .expected("CSV with the columns node,channel,score")
            .got(e.to_string())
            .remedy("give it one row a channel of every layer"),
    };
    let mut reader = csv::Reader::from_path(path).map_err(bad)?;
    reader.deserialize::<Line>().map(|l| l.map(|l| ((l.node, l.channel), l.score)).map_err(bad)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn by_hand() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "node,channel,score\nconv,0,1.5\nconv,1,-2\n").expect("written");
        let table = super::read(file.path()).expect("read");
        assert_eq!(table[&("conv".to_owned(), 1)], -2.0);
        std::fs::write(file.path(), "node,channel\nconv,0\n").expect("written");
        assert!(super::read(file.path()).is_err(), "a column is missing");
    }
}
