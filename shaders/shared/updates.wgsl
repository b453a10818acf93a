// Returns whether a run updates parameters: the norm of all gradients is finite, and the largest norm is not 0.
fn updates(norm: f32, largest: f32) -> bool {
    // The largest finite number: neither infinity nor NaN is below.
    return norm <= 3.4028234e38 && largest > 0.0;
}
