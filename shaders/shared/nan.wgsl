// What is no number, found by its bits: `x != x` asks whether two numbers differ, as shaders are translated, and is false
// of NaN too; `max`, `log` and `pow` may give a number where they are given none.

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// Whether a number is none of the zeros; NaN is not.
fn is_true(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) != 0u;
}

// The larger of two; NaN where either is.
fn larger(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return select(a, b, (b > a) | ((bitcast<vec4<u32>>(b) & vec4(0x7fffffffu)) > vec4(0x7f800000u)));
}

