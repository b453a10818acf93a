//! Strided iteration over flat arrays.

use rayon::prelude::*;

use crate::kernels::shader::word;

/// Most axes that a kernel iterates over.
pub const MAX_AXES: usize = 6;

/// Axis lengths in the form of a uniform, padded with 1.
pub(crate) fn shape_words(shape: &[usize]) -> [[u32; 4]; 2] {
    let mut out = [[1; 4]; 2];
    shape.iter().enumerate().for_each(|(axis, &n)| out[axis / 4][axis % 4] = word(n));
    out
}

/// Strides in the form of a uniform, padded with 0.
pub(crate) fn stride_words(strides: &[isize]) -> [[i32; 4]; 2] {
    let mut out = [[0; 4]; 2];
    for (axis, &n) in strides.iter().enumerate() {
        out[axis / 4][axis % 4] = i32::try_from(n).expect("a stride in a buffer of less than 2^31 elements");
    }
    out
}

/// Calls `visit(i, offsets)` for the given rows of a box. A row is the last axis, and `offsets` is the position of
/// its first element in each array. A box without axes is one row of one element.
pub(crate) fn for_each_row<const N: usize>(
    shape: &[usize],
    strides: &[&[isize]; N],
    rows: std::ops::Range<usize>,
    mut visit: impl FnMut(usize, [isize; N]),
) {
    let outer = &shape[..shape.len().saturating_sub(1)];
    for row in rows {
        let mut rest = row;
        let mut offsets = [0; N];
        for (axis, &size) in outer.iter().enumerate().rev() {
            let index = (rest % size) as isize;
            rest /= size;
            (0..N).for_each(|n| offsets[n] += index * strides[n][axis]);
        }
        visit(row, offsets);
    }
}

/// Calls `visit(piece, offsets)` for all pieces of an output box, on all cores.
///
/// A piece is a row or part of a long row, and `offsets` is the position of its first element in each array.
pub(crate) fn par_pieces<const N: usize>(
    shape: &[usize],
    strides: &[&[isize]; N],
    output: &mut [f32],
    visit: impl Fn(&mut [f32], [isize; N]) + Sync,
) {
    if output.is_empty() {
        return;
    }
    let row_len = shape.last().copied().unwrap_or(1);
    let steps = strides.map(|s| s.last().copied().unwrap_or(0));
    // A task has rows for some thousand elements. Long rows are cut too: a call without broadcasting is a single row,
    // and should use all cores.
    let piece = row_len.min(1 << 14);
    let rows_of_task = (1 << 12) / row_len + 1;
    output.par_chunks_mut(rows_of_task * row_len).enumerate().for_each(|(task, y)| {
        let first = task * rows_of_task;
        for_each_row(shape, strides, first..first + y.len() / row_len, |row, offsets| {
            let y = &mut y[(row - first) * row_len..][..row_len];
            y.par_chunks_mut(piece).enumerate().for_each(|(i, y)| {
                let at = (i * piece) as isize;
                visit(y, std::array::from_fn(|n| offsets[n] + at * steps[n]));
            });
        });
    });
}

/// The range of `i` in `0..count` with `0 <= start + i·step < size`: the windows that read an existing element.
pub(crate) fn inside(start: isize, step: usize, size: usize, count: usize) -> std::ops::Range<usize> {
    let past = |bound: isize| (bound.max(0) as usize).div_ceil(step).min(count);
    let first = past(-start);
    first..past(size as isize - start).max(first)
}

/// The shape that NumPy broadcasts `shapes` to, or `None`.
pub fn broadcast(shapes: &[&[usize]]) -> Option<Vec<usize>> {
    let rank = shapes.iter().map(|s| s.len()).max()?;
    let mut out = vec![1; rank];
    for shape in shapes {
        for (axis, &size) in shape.iter().enumerate() {
            let slot = &mut out[rank - shape.len() + axis];
            match (*slot, size) {
                (a, b) if a == b => {}
                (1, b) => *slot = b,
                (_, 1) => {}
                _ => return None,
            }
        }
    }
    Some(out)
}

/// The strides of a row-major array of shape `from`, broadcast to shape `to`.
pub fn broadcast_strides(from: &[usize], to: &[usize]) -> Vec<isize> {
    let mut strides = vec![0; to.len()];
    let mut step = 1;
    for (axis, &size) in from.iter().enumerate().rev() {
        if size != 1 {
            strides[to.len() - from.len() + axis] = step;
        }
        step *= size as isize;
    }
    strides
}

/// Drops axes of length 1 and merges adjacent axes that every array steps through as one.
///
/// Returns `None` if more than [`MAX_AXES`] axes remain.
pub fn collapse<const N: usize>(
    shape: &[usize],
    strides: [Vec<isize>; N],
) -> Option<(Vec<usize>, [Vec<isize>; N])> {
    let mut joined: Vec<usize> = Vec::new();
    let mut steps: [Vec<isize>; N] = std::array::from_fn(|_| Vec::new());
    for (axis, &size) in shape.iter().enumerate() {
        if size == 1 {
            continue;
        }
        let joins = |n: usize| steps[n].last().is_some_and(|&s| s == strides[n][axis] * size as isize);
        if (0..N).all(joins) {
            if let Some(last) = joined.last_mut() {
                *last *= size;
            }
        } else {
            joined.push(size);
            (0..N).for_each(|n| steps[n].push(0));
        }
        for n in 0..N {
            if let Some(last) = steps[n].last_mut() {
                *last = strides[n][axis];
            }
        }
    }
    (joined.len() <= MAX_AXES).then_some((joined, steps))
}
