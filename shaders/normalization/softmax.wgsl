// Softmax or log-softmax along an axis. An invocation computes a row along the axis.

struct Params {
    len: u32,
    axis: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;

override LOG: bool = false;

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
    let first = (i / params.inner) * params.axis * params.inner + i % params.inner;
    var highest = f32(x[first]);
    var at = first;
    for (var a = 1u; a < params.axis; a++) {
        at += params.inner;
        highest = max(highest, f32(x[at]));
    }
    var sum = 0.0;
    at = first;
    for (var a = 0u; a < params.axis; a++) {
        sum += exp(f32(x[at]) - highest);
        at += params.inner;
    }
    let log_sum = log(sum);
    at = first;
    for (var a = 0u; a < params.axis; a++) {
        let v = f32(x[at]) - highest;
        y[at] = Out(select(exp(v) / sum, v - log_sum, LOG));
        at += params.inner;
    }
}
