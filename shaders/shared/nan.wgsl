// Tests for NaN by its bits. Translated shaders evaluate `x != x` as an ordered comparison, which is false for NaN,
// and `max`, `log` and `pow` may return a number for NaN.

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// True if a number is not zero; NaN is true.
fn is_true(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) != 0u;
}

// The larger of two numbers, or NaN if either is NaN.
fn larger(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return select(a, b, (b > a) | ((bitcast<vec4<u32>>(b) & vec4(0x7fffffffu)) > vec4(0x7f800000u)));
}

