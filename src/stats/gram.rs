//! Gram matrices: second moments of the tensors that layers consume, which show redundant channels.

/// The second moments to gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum GramKind {
    /// No second moments at all.
    None,
    /// Second moments of the channels at each position.
    #[default]
    Channel,
    /// Second moments of the patches that each layer consumes.
    Patch,
    /// Both kinds; equal ones are gathered once.
    Both,
}

/// The Gram matrix Σ p pᵀ over the positions of all images.
///
/// The vector p has the channels at a position (or the patch, channel by channel, its taps in row-major order) and a
/// constant 1 behind them. So the last row has sums, and its last element the number of positions. A grouped
/// convolution has one matrix per group.
#[derive(Clone, Debug, PartialEq)]
pub struct GramMatrix {
    /// Name of the tensor.
    pub value: String,
    /// Layers that consume the tensor.
    pub consumers: Vec<String>,
    /// Taps of a patch; 1 for the channels alone.
    pub taps: usize,
    /// Channel groups; 1 for the channels alone.
    pub groups: usize,
    /// Channels of a group times taps; a matrix has one row more.
    pub rows: usize,
    /// Lower triangles of all groups, row by row: element (i, j) with `j ≤ i` is at `i(i+1)/2 + j`.
    pub packed: Vec<f64>,
}

impl GramMatrix {
    /// Returns the elements of `groups` triangles of `rows + 1` rows; `None` on overflow.
    pub(super) fn packed_len(groups: usize, rows: usize) -> Option<usize> {
        let side = rows.checked_add(1)?;
        (side.checked_mul(side.checked_add(1)?)? / 2).checked_mul(groups)
    }

    /// Returns whether both matrices have the same tensor, taps, groups and rows.
    pub(super) fn fits(&self, other: &Self) -> bool {
        let shape = |g: &Self| (g.taps, g.groups, g.rows);
        self.value == other.value && shape(self) == shape(other)
    }

    /// Creates matrices of zeros.
    pub fn new(value: String, consumers: Vec<String>, taps: usize, [groups, rows]: [usize; 2]) -> Self {
        let packed = vec![0.0; groups * triangle(rows)];
        Self { value, consumers, taps, groups, rows, packed }
    }

    /// Returns element (i, j) of the first group's matrix.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        let (i, j) = (i.max(j), i.min(j));
        self.packed[i * (i + 1) / 2 + j]
    }

    /// Returns the lower triangle of a group's matrix, row by row.
    pub fn triangle(&self, group: usize) -> &[f64] {
        let len = triangle(self.rows);
        &self.packed[group * len..][..len]
    }

    /// Returns the number of positions.
    pub fn count(&self) -> f64 {
        self.at(self.rows, self.rows)
    }

    /// Returns the mean of element `i` of p, in the first group.
    pub fn mean(&self, i: usize) -> f64 {
        self.at(self.rows, i) / self.count()
    }

    /// Adds the kernel's sums, `[groups, splits, rows + 1, rows + 1]`; only lower triangles are used.
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

    /// Adds the matrix of other images, which must [fit](GramMatrix::fits).
    pub(super) fn merge(&mut self, other: &Self) {
        self.packed.iter_mut().zip(&other.packed).for_each(|(a, b)| *a += b);
    }
}

/// Returns the elements of the lower triangle of a matrix of `rows + 1` rows.
fn triangle(rows: usize) -> usize {
    (rows + 1) * (rows + 2) / 2
}
