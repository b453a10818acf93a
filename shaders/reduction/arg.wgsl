// The index of an axis' largest or smallest element. An invocation computes an output element.

struct Params {
    len: u32,
    axis: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<In0>;

override LEAST: bool = false;
override LAST: bool = false;

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
    var at = (i / params.inner) * params.axis * params.inner + i % params.inner;
    var best = f32(x[at]);
    var index = 0u;
    for (var a = 1u; a < params.axis; a++) {
        at += params.inner;
        let v = f32(x[at]);
        if select(v > best, v < best, LEAST) || (LAST && v == best) {
            best = v;
            index = a;
        }
    }
    y[i] = f32(index);
}
