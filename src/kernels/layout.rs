//! Strides: how a flat array is walked as a box of axes.

use rayon::prelude::*;

use crate::kernels::shader::word;

/// Most axes that a kernel walks.
pub const MAX_AXES: usize = 6;

/// Axis lengths as a uniform holds them, the rest 1.
pub(crate) fn shape_words(shape: &[usize]) -> [[u32; 4]; 2] {
    let mut out = [[1; 4]; 2];
    shape.iter().enumerate().for_each(|(axis, &n)| out[axis / 4][axis % 4] = word(n));
    out
}

/// Strides as a uniform holds them, the rest 0.
pub(crate) fn stride_words(strides: &[isize]) -> [[i32; 4]; 2] {
    let mut out = [[0; 4]; 2];
    for (axis, &n) in strides.iter().enumerate() {
        out[axis / 4][axis % 4] = i32::try_from(n).expect("a stride in a buffer of less than 2^31 elements");
    }
    out
}

/// Calls `visit(i, offsets)` for every `i`-th row of a box, a row being its last axis: `offsets` is
/// where each array stands at the row's first element. A box without axes is one row of one element.
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

/// Calls `visit(piece, offsets)` for pieces of an output that is such a box, on all cores: a piece is a row or a part of a
/// long one, `offsets` is where each array stands at its first element.
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
    // Rows of a task: enough of them for some thousand elements. A long row is its own task's chunk too, so that a
    // call without broadcasting, which is one row, uses all cores.
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

/// Which `i` of `0..count` have `0 <= start + i·step < size`: the windows that see a real element.
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

/// The steps through a row-major array of shape `from` seen as shape `to`, to which it broadcasts.
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

/// Drops axes of length one and joins neighbours that every array steps through as one axis.
/// `None` where more than [`MAX_AXES`] remain.
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
