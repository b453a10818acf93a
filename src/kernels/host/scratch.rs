//! Scratch memory of host kernels, which each thread keeps from call to call.

use std::cell::RefCell;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with scratch memory for `len` elements, whose contents are arbitrary.
///
/// A thread that waits for others may start another task of the same kind, so each thread keeps a stack of buffers.
pub(crate) fn with<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut room = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if room.len() < len {
        room.resize(len, 0.0);
    }
    let result = work(&mut room[..len]);
    FREE.with_borrow_mut(|free| free.push(room));
    result
}
