// Gradient of a gather. An invocation adds the gradients of all elements that read an element of the input.

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
    let row = quotient(i, params.inner);
    let outer = quotient(row, params.axis);
    let own = f32(row - outer * params.axis);
    var at = outer * params.count * params.inner + i - row * params.inner;
    var sum = 0.0;
    for (var k = 0u; k < params.count; k++) {
        let index = table[select(k, at, OWN)];
        if index == own || index + f32(params.axis) == own {
            sum += f32(gy[at]);
        }
        at += params.inner;
    }
    gx[i] = Out(sum);
}
