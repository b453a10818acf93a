// Gradient of a resampled axis: an invocation adds, for an old element, the weighted gradients of the new elements.

struct Params {
    len: u32,
    axis: u32,
    out: u32,
    inner: u32,
    taps: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> gx: array<Out>;
@group(0) @binding(2) var<storage, read> gy: array<In0>;
@group(0) @binding(3) var<storage, read> positions: array<f32>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;

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
    let row = quotient(i, params.inner);
    let outer = quotient(row, params.axis);
    let own = f32(row - outer * params.axis);
    var at = outer * params.out * params.inner + i - row * params.inner;
    var tap = 0u;
    var sum = 0.0;
    for (var k = 0u; k < params.out; k++) {
        // Elements outside of the axis depend on no old one.
        let inside = positions[tap] >= 0.0;
        var weight = 0.0;
        for (var t = tap; t < tap + params.taps; t++) {
            weight += select(0.0, weights[t], positions[t] == own && inside);
        }
        if weight != 0.0 {
            sum += weight * f32(gy[at]);
        }
        at += params.inner;
        tap += params.taps;
    }
    gx[i] = Out(sum);
}
