//! Backward elimination of the inputs that the others compensate best (block Optimal Brain Surgeon).
//!
//! Without the elements R of its patch, and with the best linear correction of the other weights, a layer's output has
//! the total squared error tr(W_Rᵀ [(H⁻¹)_RR]⁻¹ W_R), H the moments about the means. The formula then holds for the
//! remaining elements with W −= H⁻¹_{:,R} [(H⁻¹)_RR]⁻¹ W_R and H⁻¹ downdated likewise.

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::{DenseSolveCore, Llt, Solve};
use faer::{Accum, Mat, Par, Side};
use rayon::prelude::*;

use super::{SecondMoments, factor, select};

/// A layer that consumes candidates for removal.
#[derive(Debug)]
pub struct EliminationProblem {
    inverse: Mat<f64>,
    weights: Mat<f64>,
    /// Elements of a patch that belong to each candidate.
    blocks: Vec<Vec<usize>>,
}

/// The Cholesky factor of a block (H⁻¹)_RR, and [(H⁻¹)_RR]⁻¹ W_R.
struct SolvedBlock {
    llt: Llt<f64>,
    weights: Mat<f64>,
}

/// One step of the elimination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Candidate that is removed.
    pub candidate: usize,
    /// Squared error that the removal adds, after all removals before it.
    pub loss: f64,
}

/// The least ridge for inverting the moments, as a share of the mean diagonal; few positions raise it.
const RIDGE: f64 = 1e-4;
/// The most candidates removed one at a time; above, n candidates are removed n / 64 at a time.
const ONE_BY_ONE: usize = 64;

impl EliminationProblem {
    /// Prepares a layer from its input's moments, its weights and the elements of each candidate.
    ///
    /// `weights` is elements × outputs. Returns `None` if the input is constant.
    pub fn new(moments: &SecondMoments, weights: &Mat<f64>, blocks: Vec<Vec<usize>>) -> Option<Self> {
        let inverse = factor(moments, moments.ridge(RIDGE, 1.0))?.llt.inverse();
        Some(Self { inverse, weights: narrow(weights), blocks })
    }

    /// Returns the squared error without the elements of `block`.
    fn loss(&self, block: &[usize]) -> f64 {
        self.solved(block).map_or(0.0, |solved| self.lost(block, &solved.weights))
    }

    /// Computes tr(W_Rᵀ S) from S = [(H⁻¹)_RR]⁻¹ W_R.
    fn lost(&self, block: &[usize], solved: &Mat<f64>) -> f64 {
        let places = (0..solved.nrows()).flat_map(|i| (0..solved.ncols()).map(move |j| (i, j)));
        places.map(|(i, j)| self.weights[(block[i], j)] * solved[(i, j)]).sum()
    }

    /// Solves a block; `None` if it is empty, or not positive definite after rounding.
    fn solved(&self, block: &[usize]) -> Option<SolvedBlock> {
        if block.is_empty() {
            return None;
        }
        let outputs: Vec<usize> = (0..self.weights.ncols()).collect();
        let llt = select(&self.inverse, block, block).llt(Side::Lower).ok()?;
        let weights = llt.solve(&select(&self.weights, block, &outputs));
        Some(SolvedBlock { llt, weights })
    }

    /// Removes the elements of `block` and returns the squared error that this adds.
    fn remove(&mut self, block: &[usize]) -> f64 {
        let Some(SolvedBlock { llt, weights: solved }) = self.solved(block) else { return 0.0 };
        let lost = self.lost(block, &solved);
        let n = self.inverse.nrows();
        let all: Vec<usize> = (0..n).collect();
        let columns = select(&self.inverse, &all, block);
        let gain = llt.solve(&columns.transpose().to_owned());
        let par = if n < 512 { Par::Seq } else { Par::rayon(0) };
        matmul(self.weights.as_mut(), Accum::Add, &columns, &solved, -1.0, par);
        matmul(self.inverse.as_mut(), Accum::Add, &columns, &gain, -1.0, par);
        // Removed elements must stay exactly zero, despite rounding.
        for &r in block {
            self.weights.row_mut(r).fill(0.0);
            self.inverse.row_mut(r).fill(0.0);
            self.inverse.col_mut(r).fill(0.0);
            self.inverse[(r, r)] = 1.0;
        }
        lost
    }

    /// Shrinks the matrices to the remaining elements once a quarter is removed, which saves time.
    fn compact(&mut self, gone: &[bool]) {
        let mut dead = vec![false; self.inverse.nrows()];
        let blocks = self.blocks.iter().zip(gone).filter(|(_, gone)| **gone);
        blocks.for_each(|(block, _)| block.iter().for_each(|&r| dead[r] = true));
        let left: Vec<usize> = (0..dead.len()).filter(|&r| !dead[r]).collect();
        if left.len() * 4 > dead.len() * 3 || left.len() < 64 {
            return;
        }
        let outputs: Vec<usize> = (0..self.weights.ncols()).collect();
        self.inverse = select(&self.inverse, &left, &left);
        self.weights = select(&self.weights, &left, &outputs);
        let mut place = vec![usize::MAX; dead.len()];
        left.iter().enumerate().for_each(|(new, &old)| place[old] = new);
        for (block, &gone) in self.blocks.iter_mut().zip(gone) {
            *block = if gone { vec![] } else { block.iter().map(|&r| place[r]).collect() };
        }
    }
}

/// Compresses W (n×m, m > n) to the Cholesky factor of W Wᵀ; losses depend on W only through it.
fn narrow(weights: &Mat<f64>) -> Mat<f64> {
    let n = weights.nrows();
    if weights.ncols() <= n {
        return weights.clone();
    }
    let mut products = Mat::<f64>::zeros(n, n);
    matmul(products.as_mut(), Accum::Replace, weights, weights.transpose(), 1.0, Par::rayon(0));
    let scale = (0..n).map(|i| products[(i, i)]).sum::<f64>() / n.max(1) as f64;
    (0..n).for_each(|i| products[(i, i)] += 1e-12 * scale + f64::MIN_POSITIVE);
    products.llt(Side::Lower).map_or_else(|_| weights.clone(), |llt| llt.L().to_owned())
}

/// Eliminates `candidates` in the order of the loss that each adds, summed over the layers.
///
/// A step removes several candidates if there are many; they share the loss of the step.
pub fn eliminate(layers: &mut [EliminationProblem], candidates: usize) -> Vec<Loss> {
    let mut gone = vec![false; candidates];
    let mut order = Vec::with_capacity(candidates);
    while order.len() < candidates {
        let left: Vec<usize> = (0..candidates).filter(|&c| !gone[c]).collect();
        let loss = |&c: &usize| (c, layers.iter().map(|r| r.loss(&r.blocks[c])).sum::<f64>());
        let mut losses: Vec<(usize, f64)> = left.par_iter().map(loss).collect();
        losses.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let now = &losses[..(left.len() / ONE_BY_ONE).max(1)];
        let mut lost = 0.0;
        for layer in layers.iter_mut() {
            let block: Vec<usize> = now.iter().flat_map(|&(c, _)| layer.blocks[c].clone()).collect();
            lost += layer.remove(&block);
        }
        for &(candidate, _) in now {
            gone[candidate] = true;
            order.push(Loss { candidate, loss: lost.max(0.0) / now.len() as f64 });
        }
        layers.iter_mut().for_each(|r| r.compact(&gone));
    }
    order
}

/// Returns the matrix M (kept × gone) by which the elements `kept` compensate the elements `gone`.
///
/// Weights become `W_kept + M W_gone`, and the bias takes the rest of the mean. M is zero if the kept elements are
/// constant.
pub fn compensate(moments: &SecondMoments, kept: &[usize], gone: &[usize]) -> Mat<f64> {
    let right = select(&moments.scatter, kept, gone);
    let left = moments.select(kept);
    match factor(&left, left.ridge(RIDGE, 1.0)) {
        Some(factor) => factor.llt.solve(&right),
        None => Mat::zeros(kept.len(), gone.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{noise, packed};
    use super::*;

    /// Rows of six elements: the fifth is nearly the sum of the first two, the sixth is independent.
    fn rows() -> Vec<Vec<f64>> {
        let mut next = noise(11);
        let row = |_| {
            let mut p: Vec<f64> = (0..4).map(|_| next()).collect();
            p.push(p[0] + p[1] + 0.05 * next());
            p.push(next());
            p
        };
        (0..20_000).map(row).collect()
    }

    /// The squared error of the best prediction of the outputs from `kept` alone, by definition.
    fn left(moments: &SecondMoments, weights: &Mat<f64>, kept: &[usize]) -> f64 {
        let gone: Vec<usize> = (0..6).filter(|i| !kept.contains(i)).collect();
        let m = compensate(moments, kept, &gone);
        // (p_gone − Mᵀ p_kept) has the covariance H_gg − H_gk M.
        let (gg, gk) = (select(&moments.scatter, &gone, &gone), select(&moments.scatter, &gone, kept));
        let rest = gg - gk * &m;
        let own = select(weights, &gone, &(0..weights.ncols()).collect::<Vec<_>>());
        let all = own.transpose() * rest * &own;
        (0..all.nrows()).map(|i| all[(i, i)]).sum()
    }

    #[test]
    fn losses_are_what_the_best_correction_leaves() {
        let moments = SecondMoments::of(&packed(&rows()), 6);
        let mut next = noise(5);
        let weights = Mat::from_fn(6, 2, |_, _| next());
        let blocks: Vec<Vec<usize>> = (0..6).map(|i| vec![i]).collect();
        let mut layers = [EliminationProblem::new(&moments, &weights, blocks).expect("moments")];
        let order = eliminate(&mut layers, 6);
        let (mut kept, mut sum): (Vec<usize>, f64) = ((0..6).collect(), 0.0);
        for step in &order[..5] {
            kept.retain(|&k| k != step.candidate);
            sum += step.loss;
            let truth = left(&moments, &weights, &kept);
            // The ridge is a share of the mean diagonal.
            assert!((sum - truth).abs() < 2e-3 * truth + 6e-4 * moments.scale(), "{sum} {truth}");
        }
        // One of the three linearly dependent elements is first.
        assert!([0, 1, 4].contains(&order[0].candidate), "{order:?}");
        assert!(order[0].loss < 0.1 * order[1].loss, "{order:?}");
    }

    #[test]
    fn many_outputs_count_like_few_and_blocks_are_removed_whole() {
        let moments = SecondMoments::of(&packed(&rows()), 6);
        let mut next = noise(7);
        let weights = Mat::from_fn(6, 3, |_, _| next());
        // Nine copies of each output at a third: W Wᵀ is unchanged.
        let wide = Mat::from_fn(6, 27, |i, o| weights[(i, o % 3)] / 3.0);
        let blocks = vec![vec![0, 1], vec![2, 3], vec![4], vec![5]];
        let order = |w: &Mat<f64>| {
            eliminate(&mut [EliminationProblem::new(&moments, w, blocks.clone()).expect("moments")], 4)
        };
        for (a, b) in order(&weights).iter().zip(order(&wide)) {
            assert_eq!(a.candidate, b.candidate);
            assert!((a.loss - b.loss).abs() < 1e-6 * (1.0 + a.loss), "{a:?} {b:?}");
        }
    }

    #[test]
    fn few_positions_do_not_make_channels_free() {
        let mut next = noise(13);
        let rows: Vec<Vec<f64>> = (0..10).map(|_| (0..20).map(|_| next()).collect()).collect();
        let moments = SecondMoments::of(&packed(&rows), 20);
        let weights = Mat::from_fn(20, 3, |_, _| next());
        let blocks = (0..20).map(|i| vec![i]).collect();
        let order =
            eliminate(&mut [EliminationProblem::new(&moments, &weights, blocks).expect("moments")], 20);
        let lost: f64 = order[..10].iter().map(|step| step.loss).sum();
        let all: f64 = order.iter().map(|step| step.loss).sum();
        // Any ten of twenty independent elements interpolate ten rows exactly.
        assert!(lost > 0.05 * all, "{lost} of {all}");
    }
}
