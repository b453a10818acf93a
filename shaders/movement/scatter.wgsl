// Elements along an axis, written to computed places. An invocation writes all elements of one line along the axis, in
// order, so that the last of several elements for one place stays.

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

override FLAT: bool = false;

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
    let outer = i / params.inner;
    let size = f32(params.axis);
    let first = outer * params.axis;
    var at = outer * params.count * params.inner + i % params.inner;
    for (var k = 0u; k < params.count; k++) {
        let given = table[at];
        let index = select(select(given, given + size, given < 0.0), given - f32(first), FLAT);
        if index >= 0.0 && index < size {
            y[(first + u32(index)) * params.inner + i % params.inner] = Out(x[at]);
        } else {
            y[first * params.inner + i % params.inner] = Out(params.missing);
        }
        at += params.inner;
    }
}
