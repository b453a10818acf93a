// One step of AdamW. An invocation updates one element of a parameter.

struct Params {
    len: u32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    decay: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
// Rate, largest norm, share of the average, corrections of both moments.
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
    let g = gradient[i] * select(1.0, settings[1] / norm[0], norm[0] > settings[1]);
    let m = params.beta1 * state[n + i] + (1.0 - params.beta1) * g;
    let v = params.beta2 * state[2 * n + i] + (1.0 - params.beta2) * g * g;
    let direction = settings[3] * m / (sqrt(settings[4] * max(v, 0.0)) + params.epsilon);
    let old = state[i];
    let value = old - settings[0] * (direction + params.decay * old);
    state[i] = value;
    state[n + i] = m;
    state[2 * n + i] = v;
    state[3 * n + i] += settings[2] * (value - state[3 * n + i]);
}
