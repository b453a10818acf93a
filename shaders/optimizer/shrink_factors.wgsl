// Factors by which coupled filters shrink in a step. An invocation computes the factor of one filter.

struct Params {
    filters: u32,
    strength: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> factors: array<f32>;
@group(0) @binding(2) var<storage, read> squares: array<f32>;
@group(0) @binding(3) var<storage, read> starts: array<f32>;
@group(0) @binding(4) var<storage, read> coupled: array<f32>;
@group(0) @binding(5) var<storage, read> sizes: array<f32>;
// The rate, then the largest norm.
@group(0) @binding(6) var<storage, read> settings: array<f32>;
@group(0) @binding(7) var<storage, read> norm: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = invocation(workgroup, workgroups, local);
    if i >= params.filters {
        return;
    }
    var square = 0.0;
    for (var k = u32(starts[i]); k < u32(starts[i + 1u]); k++) {
        square += squares[u32(coupled[k])];
    }
    let threshold = settings[0] * params.strength * sqrt(sizes[i]);
    var factor = 0.0;
    if square > 0.0 {
        factor = max(0.0, 1.0 - threshold / sqrt(square));
    }
    factors[i] = select(1.0, factor, updates(norm[0], settings[1]));
}
