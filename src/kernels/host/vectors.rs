//! Copies of rows by vectors.

/// Number of elements of a vector.
const VECTOR: usize = 16;

/// Copies a row by vectors of 16, the last of which may overlap the one before.
///
/// A call of `memcpy` costs more than the few elements of a small plane's row.
#[inline(always)]
pub(crate) fn copy(source: &[f32], target: &mut [f32]) {
    map(source, target, |x| x);
}

/// Copies a row by vectors of 16, applying a function to each element.
#[inline(always)]
pub(crate) fn map(source: &[f32], target: &mut [f32], f: impl Fn(f32) -> f32) {
    let len = target.len();
    let source = &source[..len];
    match len {
        VECTOR.. => map_by::<VECTOR>(source, target, f),
        8.. => map_by::<8>(source, target, f),
        4.. => map_by::<4>(source, target, f),
        _ => target.iter_mut().zip(source).for_each(|(t, s)| *t = f(*s)),
    }
}

/// Maps at least `N` elements by vectors of `N`, the last of which may overlap the one before.
#[inline(always)]
fn map_by<const N: usize>(source: &[f32], target: &mut [f32], f: impl Fn(f32) -> f32) {
    let len = target.len();
    let mut at = 0;
    while at < len {
        let first = at.min(len - N);
        let mut vector = [0.0; N];
        vector.copy_from_slice(&source[first..first + N]);
        for x in &mut vector {
            *x = f(*x);
        }
        target[first..first + N].copy_from_slice(&vector);
        at += N;
    }
}

/// Copies every `step`-th element of `source`.
#[inline(always)]
pub(crate) fn copy_every(step: usize, source: &[f32], target: &mut [f32]) {
    match step {
        1 => copy(source, target),
        2 => every::<2>(source, target),
        4 => every::<4>(source, target),
        step => target.iter_mut().zip(source.iter().step_by(step)).for_each(|(t, s)| *t = *s),
    }
}

/// Copies every `N`-th element, in whole vectors as far as possible.
#[inline(always)]
fn every<const N: usize>(source: &[f32], target: &mut [f32]) {
    let (groups, _) = source.as_chunks::<N>();
    let whole = groups.len().min(target.len());
    target.iter_mut().zip(groups).for_each(|(t, group)| *t = group[0]);
    let rest = source[whole * N..].iter().step_by(N);
    target[whole..].iter_mut().zip(rest).for_each(|(t, s)| *t = *s);
}
