// A moving average of statistics. An invocation computes one element.

struct Params {
    len: u32,
    momentum: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> average: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
// Element 1 is the largest norm, 0 in runs without an update.
@group(0) @binding(3) var<storage, read> settings: array<f32>;
@group(0) @binding(4) var<storage, read> norm: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = invocation(workgroup, workgroups, local);
    if i >= params.len || !updates(norm[0], settings[1]) {
        return;
    }
    average[i] += params.momentum * (x[i] - average[i]);
}
