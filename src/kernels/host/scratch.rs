//! Room for what a host kernel needs while it runs, kept by each thread from call to call.

use std::cell::RefCell;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Gives `work` room for `len` elements. What stands there is left from before.
///
/// A thread that waits for others may take up another task of the same kind meanwhile, so there is a stack of rooms,
/// not one.
pub(crate) fn with<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut room = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if room.len() < len {
        room.resize(len, 0.0);
    }
    let result = work(&mut room[..len]);
    FREE.with_borrow_mut(|free| free.push(room));
    result
}
