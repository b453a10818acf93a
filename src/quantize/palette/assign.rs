//! Codebooks and indices that keep a layer's outputs, by the second moments of its input.
//!
//! The weights are rounded one after the other, and the weights behind take up the error as the inverse of the moments
//! demands (GPTQ, Frantar 2023; Optimal Brain Quantization). For given indices, the outputs are linear in the values of
//! the codebook, so that least squares finds the best ones.

use faer::Mat;
use faer::Side;
use faer::linalg::solvers::{DenseSolveCore, Solve};

use super::codebook::Codebook;
use crate::lsq::factor;
use crate::repair::FilterSystem;
use crate::stats::Filters;

/// The ridge of the codebook's system, as a share of its mean diagonal.
const RIDGE: f64 = 1e-6;

/// Replaces all weights of a layer by values of one codebook of at most `most` values.
pub(super) fn share(systems: &[FilterSystem], filters: &mut Filters, most: usize) {
    let (weights, importance) = weighted(systems, filters);
    let book = Codebook::of(&weights, Some(&importance), most);
    let mut rounded = filters.clone();
    for system in systems {
        round(system, &mut rounded, &book);
    }
    let refined = refined(systems, filters, &rounded, &book);
    // The weights that no moments describe, and values that moved across another one.
    let index = |w: f64| book.nearest(w);
    for row in &mut rounded.rows {
        row.iter_mut().for_each(|w| *w = refined[index(*w)].into());
    }
    filters.rows = rounded.rows;
}

/// Returns the weights that the systems describe, each with its part of the squared error of the outputs.
fn weighted(systems: &[FilterSystem], filters: &Filters) -> (Vec<f32>, Vec<f64>) {
    let mut all = (vec![], vec![]);
    for system in systems {
        for (&filter, scale) in system.filters.iter().zip(&system.scales) {
            for (i, &element) in system.elements.iter().enumerate() {
                all.0.push(filters.rows[filter][element] as f32);
                all.1.push(scale * scale * system.moments.scatter[(i, i)].max(0.0));
            }
        }
    }
    all
}

/// Rounds the filters of a system to the codebook, so that later weights take up the errors of earlier ones.
fn round(system: &FilterSystem, filters: &mut Filters, book: &Codebook) {
    let n = system.elements.len();
    let value = |w: f64| f64::from(book.values().get(book.nearest(w)).copied().unwrap_or(0.0));
    // The factor U of H⁻¹ = Uᵀ U: its row i has what the weights behind i take up.
    let inverse = factor(system.moments, system.ridge.max(RIDGE)).map(|f| f.llt.inverse());
    let upper = inverse.and_then(|inverse| inverse.llt(Side::Lower).ok()).map(|llt| llt.L().to_owned());
    for &filter in system.filters {
        let row = &mut filters.rows[filter];
        let mut left: Vec<f64> = system.elements.iter().map(|&element| row[element]).collect();
        for i in 0..n {
            let rounded = value(left[i]);
            if let Some(lower) = &upper {
                let error = (left[i] - rounded) / lower[(i, i)];
                (i + 1..n).for_each(|j| left[j] -= error * lower[(j, i)]);
            }
            left[i] = rounded;
        }
        system.elements.iter().zip(left).for_each(|(&element, w)| row[element] = w);
    }
}

/// Returns the codebook's values that are best for the indices of `rounded`, compared with the filters `free`.
fn refined(systems: &[FilterSystem], free: &Filters, rounded: &Filters, book: &Codebook) -> Vec<f32> {
    let k = book.values().len();
    let (mut normal, mut right) = (Mat::<f64>::zeros(k, k), Mat::<f64>::zeros(k, 1));
    for system in systems {
        let (n, scatter) = (system.elements.len(), &system.moments.scatter);
        for (&filter, scale) in system.filters.iter().zip(&system.scales) {
            let of = |rows: &Filters| -> Vec<f64> {
                system.elements.iter().map(|&element| rows.rows[filter][element]).collect()
            };
            let (wanted, index): (Vec<f64>, Vec<usize>) =
                (of(free), of(rounded).into_iter().map(|w| book.nearest(w)).collect());
            for i in 0..n {
                let mut products = vec![0.0; k];
                let mut target = 0.0;
                for j in 0..n {
                    products[index[j]] += scatter[(i, j)];
                    target += scatter[(i, j)] * wanted[j];
                }
                let factor = scale * scale;
                products.iter().enumerate().for_each(|(c, sum)| normal[(index[i], c)] += factor * sum);
                right[(index[i], 0)] += factor * target;
            }
        }
    }
    let scale = (0..k).map(|c| normal[(c, c)]).sum::<f64>() / k.max(1) as f64;
    for (c, &value) in book.values().iter().enumerate() {
        normal[(c, c)] += RIDGE * scale;
        right[(c, 0)] += RIDGE * scale * f64::from(value);
    }
    let solved = normal.llt(Side::Lower).ok().map(|llt| llt.solve(&right));
    let value = |(c, &old): (usize, &f32)| match &solved {
        Some(solved) if solved[(c, 0)].is_finite() && old != 0.0 => solved[(c, 0)] as f32,
        _ => old,
    };
    book.values().iter().enumerate().map(value).collect()
}
