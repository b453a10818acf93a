// Selects elements along an axis by a table of indices. An invocation computes an output element.

struct Params {
    len: u32,
    axis: u32,
    count: u32,
    inner: u32,
    // NaN, for which WGSL has no literal.
    missing: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
@group(0) @binding(3) var<storage, read> table: array<f32>;

override OWN: bool = false;

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
    let given = table[select(row % params.count, i, OWN)];
    let size = f32(params.axis);
    let index = select(given, given + size, given < 0.0);
    if index >= 0.0 && index < size {
        y[i] = Out(x[(row / params.count * params.axis + u32(index)) * params.inner + i % params.inner]);
    } else {
        y[i] = Out(params.missing);
    }
}
