// Integer quotients of numbers below 2^31 by floating-point division.
// A software adapter has no vector instruction for integer division, and divides lane by lane. The first quotient may be off by 2^-23 of itself; a second division
// of the remainder leaves an error of at most one, which is corrected.
fn quotient(a: u32, b: u32) -> u32 {
    let near = u32(f32(a) / f32(b));
    let better = near + u32(i32(floor(f32(i32(a - near * b)) / f32(b))));
    let left = i32(a - better * b);
    return better - select(0u, 1u, left < 0) + select(0u, 1u, left >= i32(b));
}

fn quotients(a: vec4<u32>, b: u32) -> vec4<u32> {
    let near = vec4<u32>(vec4<f32>(a) / f32(b));
    let better = near + vec4<u32>(vec4<i32>(floor(vec4<f32>(vec4<i32>(a - near * b)) / f32(b))));
    let left = vec4<i32>(a - better * b);
    let low = select(vec4(0u), vec4(1u), left < vec4(0));
    return better - low + select(vec4(0u), vec4(1u), left >= vec4(i32(b)));
}
