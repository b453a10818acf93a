// Gradient of a scatter. An invocation reads the gradient of the place that an element was written to.
//
// If a later element was written to that place, the gradient is 0.

struct Params {
    len: u32,
    axis: u32,
    count: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> gx: array<Out>;
@group(0) @binding(2) var<storage, read> gy: array<In0>;
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
    let row = quotient(i, params.inner);
    let outer = quotient(row, params.count);
    let size = f32(params.axis);
    let first = outer * params.axis;
    let start = select(0.0, f32(first), FLAT);
    let given = table[i] - start;
    let own = select(given, given + size, !FLAT && given < 0.0);
    var last = own >= 0.0 && own < size;
    var at = i + params.inner;
    for (var k = row - outer * params.count + 1u; k < params.count; k++) {
        let index = table[at] - start;
        last = last && index != own && (FLAT || index + size != own);
        at += params.inner;
    }
    if last {
        gx[i] = Out(gy[(first + u32(own)) * params.inner + i - row * params.inner]);
    } else {
        gx[i] = Out(0.0);
    }
}
