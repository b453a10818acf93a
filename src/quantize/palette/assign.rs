//! Codebooks and indices that keep a layer's outputs, by the second moments of its input.
//!
//! Weights are [`round`]ed to the codebook. For given indices, the outputs are linear in the values of the codebook, so
//! that least squares finds the best ones.

use faer::Mat;
use faer::Side;
use faer::linalg::solvers::Solve;

use super::codebook::Codebook;
use crate::quantize::rounding::{RIDGE, round};
use crate::repair::FilterSystem;
use crate::stats::Filters;

/// Replaces all weights of a layer by values of one codebook of at most `most` values.
pub(super) fn share(systems: &[FilterSystem], filters: &mut Filters, most: usize) {
    let (weights, importance) = weighted(systems, filters);
    let book = Codebook::of(&weights, Some(&importance), most);
    let mut rounded = filters.clone();
    let value = |w: f64| f64::from(book.values().get(book.nearest(w)).copied().unwrap_or(0.0));
    for system in systems {
        round(system, &mut rounded, |_, w| value(w));
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
