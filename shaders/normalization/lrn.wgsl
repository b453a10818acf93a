// Local response normalization over channels. An invocation computes an element.

struct Params {
    len: u32,
    channels: u32,
    inner: u32,
    before: u32,
    after: u32,
    scale: f32,
    beta: f32,
    bias: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;

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
    let c = (i / params.inner) % params.channels;
    let own = i - c * params.inner;
    var sum = 0.0;
    for (var n = c - min(c, params.before); n <= min(c + params.after, params.channels - 1u); n++) {
        let v = f32(x[own + n * params.inner]);
        sum += v * v;
    }
    let made = f32(x[i]) / pow(params.bias + params.scale * sum, params.beta);
    y[i] = Out(select(made, sum, is_nan(sum)));
}
