// Cumulative sums along an axis. An invocation computes a row.

struct Params {
    len: u32,
    axis: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;

override EXCLUSIVE: bool = false;
override REVERSE: bool = false;

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
    var sum = 0.0;
    for (var step = 0u; step < params.axis; step++) {
        let at = first + select(step, params.axis - 1u - step, REVERSE) * params.inner;
        let whole = sum + f32(x[at]);
        y[at] = Out(select(whole, sum, EXCLUSIVE));
        sum = whole;
    }
}
