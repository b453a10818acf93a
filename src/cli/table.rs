//! Tables and paragraphs within 80 columns.

/// The width of terminals that every text fits.
pub(super) const WIDTH: usize = 80;

/// The least width of a column that is shortened.
const LEAST: usize = 12;

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Set {
    Left,
    Right,
    /// To the left, and shortened in the middle if the table is too wide.
    Shortened,
}

/// A table whose columns are as wide as their cells.
#[derive(Clone, Debug)]
pub(super) struct Table {
    set: Vec<Set>,
    /// All rows, the first of which has the titles.
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table by the titles of its columns. Columns are set to the right; `<` before a title sets a column to
    /// the left, and `*` shortens it as well.
    pub(super) fn new(titles: &[&str]) -> Self {
        let set = titles.iter().map(|title| match title.as_bytes().first() {
            Some(b'<') => Set::Left,
            Some(b'*') => Set::Shortened,
            _ => Set::Right,
        });
        let names = titles.iter().map(|title| title.trim_start_matches(['<', '*']).to_owned());
        Self { set: set.collect(), rows: vec![names.collect()] }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Returns the lines of the table, the titles first, none wider than `width`.
    pub(super) fn lines(&self, width: usize) -> impl Iterator<Item = String> {
        let cell_width = |row: &Vec<String>, at: usize| row.get(at).map_or(0, |cell| cell.chars().count());
        let mut widths: Vec<usize> = (0..self.set.len())
            .map(|at| self.rows.iter().map(|row| cell_width(row, at)).max().unwrap_or(0))
            .collect();
        let whole = widths.iter().sum::<usize>() + widths.len().saturating_sub(1);
        if let Some(at) = self.set.iter().position(|set| *set == Set::Shortened) {
            widths[at] = widths[at].saturating_sub(whole.saturating_sub(width)).max(LEAST.min(widths[at]));
        }
        self.rows.iter().map(move |row| {
            let cells = row.iter().zip(&widths).zip(&self.set).map(|((cell, &width), set)| match set {
                Set::Right => format!("{cell:>width$}"),
                Set::Left => format!("{cell:<width$}"),
                Set::Shortened => format!("{:<width$}", shortened(cell, width)),
            });
            cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
        })
    }
}

/// Shortens a text to a width: an ellipsis replaces its middle, and of the rest most is of its end, as names of files
/// and layers differ there.
pub(super) fn shortened(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width || width == 0 {
        return text.to_owned();
    }
    let back = (width - 1) * 2 / 3;
    let front = width - 1 - back;
    let head = text.chars().take(front);
    head.chain(['…']).chain(text.chars().skip(count - back)).collect()
}

/// Breaks a text between words into lines that begin with `indent` spaces, none wider than a terminal.
pub(super) fn wrapped(text: &str, indent: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{:indent$}{word}", "")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_table_shortens_names_in_the_middle() {
        let mut table = Table::new(&["*layer", "<op", "MACs"]);
        table.row(["a".to_owned(), "Conv".to_owned(), "1".to_owned()]);
        table.row(["/stage1/".repeat(20) + "end", "Gemm".to_owned(), "12.3 M".to_owned()]);
        let lines: Vec<String> = table.lines(WIDTH).collect();
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
        assert!(lines[0].starts_with("layer  ") && lines[0].ends_with(" op     MACs"), "{lines:#?}");
        assert!(lines[1].ends_with(" Conv      1"), "{lines:#?}");
        assert!(lines[2].starts_with("/stage1/") && lines[2].contains("…") && lines[2].contains("/end Gemm"));
    }

    #[test]
    fn short_tables_are_as_narrow_as_their_cells() {
        let mut table = Table::new(&["*a", "b"]);
        table.row(["xyz".to_owned(), "1".to_owned()]);
        assert_eq!(table.lines(WIDTH).collect::<Vec<_>>(), ["a   b", "xyz 1"]);
    }

    #[test]
    fn paragraphs_break_between_words() {
        let lines = wrapped(&"word ".repeat(40), 4);
        assert!(
            lines.len() > 2 && lines.iter().all(|line| line.starts_with("    word") && line.len() <= WIDTH)
        );
        assert_eq!(shortened("abcdef", 5), "ab…ef");
    }
}
