// What a device can do at most: a copy, with so many rounds of multiply-adds on the way. An invocation four elements.

struct Params {
    len: u32,
    rounds: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = invocation(workgroup, workgroups, local);
    if i >= params.len {
        return;
    }
    let v = x[i];
    let half = 0.5 * v;
    var a = 0.25 * v;
    var b = 0.75 * v;
    for (var round = 0u; round < params.rounds; round++) {
        a = fma(a, half, half);
        b = fma(b, half, half);
    }
    y[i] = a + b;
}
