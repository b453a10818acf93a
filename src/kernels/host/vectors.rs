//! Copies of short rows, in vectors.

/// Elements of a vector.
const VECTOR: usize = 16;

/// A row's elements to where they belong: vectors of 16, the last of which may overlap the one before. A call to copy
/// memory costs more than the few elements that rows of small planes have.
#[inline(always)]
pub(crate) fn copy(source: &[f32], target: &mut [f32]) {
    map(source, target, |x| x);
}

/// The same, each element by a function of it.
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
