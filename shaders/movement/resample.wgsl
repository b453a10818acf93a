// Resamples an axis: every new element is a weighted sum of old ones. An invocation computes an output element.

struct Params {
    len: u32,
    axis: u32,
    out: u32,
    inner: u32,
    taps: u32,
    // The value if the first position is negative.
    outside: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
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
    let row = i / params.inner;
    let first = (row / params.out) * params.axis * params.inner + i % params.inner;
    let tap = (row % params.out) * params.taps;
    if positions[tap] < 0.0 {
        y[i] = Out(params.outside);
        return;
    }
    var sum = 0.0;
    for (var t = tap; t < tap + params.taps; t++) {
        sum += weights[t] * f32(x[first + u32(positions[t]) * params.inner]);
    }
    y[i] = Out(sum);
}
