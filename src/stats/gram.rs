//! Second moments of the tensors that layers read: which channels say the same thing.

/// Which second moments are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum GramKind {
    /// None.
    None,
    /// Of the channels at each position.
    #[default]
    Channel,
    /// Of the patches that each layer reads.
    Patch,
    /// Both, each once where they are the same.
    Both,
}

/// Σ p pᵀ over the positions of all images, p the channels (or the patch, channel by channel, its taps in
/// row-major order) at a position with a constant 1 behind them. So the last row holds sums, and its last element
/// the number of positions. A convolution in groups has a matrix for the channels of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Gram {
    /// The value.
    pub value: String,
    /// The layers that read it.
    pub readers: Vec<String>,
    /// Taps of a patch; 1 for the channels alone.
    pub taps: usize,
    /// Groups, 1 for the channels alone.
    pub groups: usize,
    /// Channels of a group times taps; a matrix has one row more.
    pub rows: usize,
    /// The lower triangle, row by row: element (i, j) with `j ≤ i` stands at `i(i+1)/2 + j`. One group after the
    /// other.
    pub packed: Vec<f64>,
}

impl Gram {
    /// Elements of so many triangles with one row more than `rows`; `None` where no computer holds them.
    pub(super) fn packed_len(groups: usize, rows: usize) -> Option<usize> {
        let side = rows.checked_add(1)?;
        (side.checked_mul(side.checked_add(1)?)? / 2).checked_mul(groups)
    }

    /// Whether both are of one tensor, gathered alike.
    pub(super) fn fits(&self, other: &Self) -> bool {
        let shape = |g: &Self| (g.taps, g.groups, g.rows);
        self.value == other.value && shape(self) == shape(other)
    }

    /// All zeros.
    pub fn new(value: String, readers: Vec<String>, taps: usize, [groups, rows]: [usize; 2]) -> Self {
        let packed = vec![0.0; groups * triangle(rows)];
        Self { value, readers, taps, groups, rows, packed }
    }

    /// The sum of products of rows `i` and `j` of the first group.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        let (i, j) = (i.max(j), i.min(j));
        self.packed[i * (i + 1) / 2 + j]
    }

    /// The lower triangle of a group's matrix.
    pub fn triangle(&self, group: usize) -> &[f64] {
        let len = triangle(self.rows);
        &self.packed[group * len..][..len]
    }

    /// Positions seen.
    pub fn count(&self) -> f64 {
        self.at(self.rows, self.rows)
    }

    /// The mean of row `i` of the first group.
    pub fn mean(&self, i: usize) -> f64 {
        self.at(self.rows, i) / self.count()
    }

    /// Adds what the kernel gathered: `[groups, splits, rows + 1, rows + 1]`, of which the lower triangles count.
    pub(super) fn add(&mut self, sums: &[f32]) {
        let n = self.rows + 1;
        let groups = self.packed.chunks_exact_mut(triangle(self.rows));
        for (packed, splits) in groups.zip(sums.chunks_exact(sums.len() / self.groups)) {
            for split in splits.chunks_exact(n * n) {
                let rows = split.chunks_exact(n).enumerate().flat_map(|(i, row)| &row[..=i]);
                packed.iter_mut().zip(rows).for_each(|(sum, &part)| *sum += f64::from(part));
            }
        }
    }

    /// Takes in that of other images, which [fits](Gram::fits).
    pub(super) fn merge(&mut self, other: &Self) {
        self.packed.iter_mut().zip(&other.packed).for_each(|(a, b)| *a += b);
    }
}

/// Elements of the lower triangle of a matrix with one row more than `rows`.
fn triangle(rows: usize) -> usize {
    (rows + 1) * (rows + 2) / 2
}
