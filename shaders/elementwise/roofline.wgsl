// Measures a device's limits: a copy with rounds of multiply-adds. An invocation processes eight elements.

struct Params {
    len: u32,
    rounds: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

fn once(a: vec4<f32>, half: vec4<f32>) -> vec4<f32> {
    return fma(a, half, half);
}

fn four_times(a: vec4<f32>, half: vec4<f32>) -> vec4<f32> {
    return once(once(once(once(a, half), half), half), half);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = invocation(workgroup, workgroups, local);
    if i * 2u >= params.len {
        return;
    }
    // Without another quad, processes the last one twice.
    let at = i * 2u;
    let other = min(at + 1u, params.len - 1u);
    let v = x[at];
    let w = x[other];
    let half_v = 0.5 * v;
    let half_w = 0.5 * w;
    var a = 0.25 * v;
    var b = 0.75 * v;
    var c = 0.25 * w;
    var d = 0.75 * w;
    // Four rounds at a time, because the loop itself is no arithmetic.
    for (var round = 0u; round < params.rounds / 4u; round++) {
        a = four_times(a, half_v);
        b = four_times(b, half_v);
        c = four_times(c, half_w);
        d = four_times(d, half_w);
    }
    for (var round = 0u; round < params.rounds % 4u; round++) {
        a = once(a, half_v);
        b = once(b, half_v);
        c = once(c, half_w);
        d = once(d, half_w);
    }
    y[at] = a + b;
    y[other] = c + d;
}
