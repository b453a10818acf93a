//! Copies of short rows by vectors.

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
    if len < VECTOR {
        target.iter_mut().zip(source).for_each(|(t, s)| *t = f(*s));
        return;
    }
    for at in (0..len - VECTOR).step_by(VECTOR).chain([len - VECTOR]) {
        let mut vector = [0.0; VECTOR];
        vector.copy_from_slice(&source[at..at + VECTOR]);
        for x in &mut vector {
            *x = f(*x);
        }
        target[at..at + VECTOR].copy_from_slice(&vector);
    }
}
