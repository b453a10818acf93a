// Copies a box of elements between strided layouts.

struct Params {
    shape: array<vec4<u32>, 2>,
    src_strides: array<vec4<i32>, 2>,
    dst_strides: array<vec4<i32>, 2>,
    axes: u32,
    len: u32,
    src_offset: u32,
    dst_offset: u32,
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
    var rest = i;
    var src = i32(params.src_offset);
    var dst = i32(params.dst_offset);
    for (var axis = params.axes; axis > 1u; axis--) {
        let slot = axis - 1u;
        let size = params.shape[slot / 4u][slot % 4u];
        let more = quotient(rest, size);
        let index = i32(rest - more * size);
        rest = more;
        src += index * params.src_strides[slot / 4u][slot % 4u];
        dst += index * params.dst_strides[slot / 4u][slot % 4u];
    }
    // The rest is the first axis's index.
    src += i32(rest) * params.src_strides[0].x;
    dst += i32(rest) * params.dst_strides[0].x;
    y[dst] = Out(x[src]);
}
