// Whole quotients of numbers below 2^31 by way of floats: a software device has no vector instruction that divides
// integers, and divides lane by lane. The first float may be off by 2^-23 of itself; what its remainder still holds is
// small enough for a second one to be off by one at most.
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
