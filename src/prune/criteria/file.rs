//! Scores from the user's own CSV file.

use std::collections::HashMap;
use std::path::Path;

use super::{CriterionRow, Missing, Needs, Score};
use crate::error::{Error, Result};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "file:SCORES.csv",
    formula: "yours: CSV with the columns node,channel,score",
    source: "you",
    needs: Needs::WEIGHTS,
    score: |layer| {
        let score = |c| layer.context.table.get(&(layer.node.to_owned(), c));
        let scores = (0..layer.channels).map(|c| score(c).map(|&value| Score { value, error: Some(0.0) }));
        scores
            .collect::<Option<_>>()
            .ok_or(Missing("the file has no score for every channel", "add the rows"))
    },
};

/// Scores by the node's name and the channel's index.
pub(super) type ScoreTable = HashMap<(String, usize), f64>;

/// Reads scores from a CSV file.
pub(super) fn read(path: &Path) -> Result<ScoreTable> {
    #[derive(serde::Deserialize)]
    struct ScoreRow {
        node: String,
        channel: usize,
        score: f64,
    }
    let bad = |e: csv::Error| {
        let text = e.to_string();
        match e.into_kind() {
            csv::ErrorKind::Io(e) => Error::io("read the scores", path, e),
            _ => Error::new("not a file of scores")
                .file(path)
                .expected("CSV with the columns node,channel,score")
                .got(text)
                .remedy("write one row for each channel of every layer"),
        }
    };
    let mut reader = csv::Reader::from_path(path).map_err(bad)?;
    let mut table = ScoreTable::new();
    for line in reader.deserialize::<ScoreRow>() {
        let ScoreRow { node, channel, score } = line.map_err(bad)?;
        if table.insert((node.clone(), channel), score).is_some() {
            return Err(Error::new(format!("channel {channel} of {node} has two scores"))
                .file(path)
                .remedy("write one row for each channel"));
        }
    }
    Ok(table)
}

/// Checks that the network has all layers and channels of the table.
pub(super) fn check<'a>(
    table: &ScoreTable,
    path: &Path,
    layers: impl Iterator<Item = (&'a str, usize)> + Clone,
) -> Result<()> {
    let has =
        |(node, channel): &(String, usize)| layers.clone().any(|(name, n)| name == node && *channel < n);
    let Some((node, channel)) = table.keys().filter(|key| !has(key)).min() else { return Ok(()) };
    let error = Error::new(format!("the network has no channel {channel} of {node}")).file(path);
    Err(match layers.clone().find(|(name, _)| name == node) {
        Some((_, n)) => error
            .expected(format!("a channel from 0 to {}", n.saturating_sub(1)))
            .remedy("write one row for each channel of every layer"),
        None => error.meant(node, layers.map(|(name, _)| name), "see the layers with `inspect()`"),
    })
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
        std::fs::write(file.path(), "node,channel,score\nconv,0,1\nconv,0,2\n").expect("written");
        assert!(super::read(file.path()).is_err(), "two scores");
        let check =
            |layers: &[(&'static str, usize)]| super::check(&table, file.path(), layers.iter().copied());
        check(&[("a", 1), ("conv", 2)]).expect("both channels are there");
        assert!(check(&[("conv", 1)]).is_err() && check(&[("a", 2)]).is_err());
    }
}
