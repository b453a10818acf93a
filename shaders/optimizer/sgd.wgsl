// One step of gradient descent with Nesterov's momentum. An invocation updates one element of a parameter.

struct Params {
    len: u32,
    momentum: f32,
    decay: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
// Rate, largest norm, share of the average; the rest is AdamW's.
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
    let n = params.len;
    let clipped = gradient[i] * select(1.0, settings[1] / norm[0], norm[0] > settings[1]);
    let old = state[i];
    let g = clipped + params.decay * old;
    let m = params.momentum * state[n + i] + g;
    let value = old - settings[0] * (g + params.momentum * m);
    state[i] = value;
    state[n + i] = m;
    state[2 * n + i] += settings[2] * (value - state[2 * n + i]);
}
