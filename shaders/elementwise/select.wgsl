// Selects elements of two arrays by a third, with the broadcasting of binary.wgsl.

struct Params {
    shape: array<vec4<u32>, 2>,
    c_strides: array<vec4<i32>, 2>,
    a_strides: array<vec4<i32>, 2>,
    b_strides: array<vec4<i32>, 2>,
    axes: u32,
    len: u32,
    pad: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> condition: array<f32>;
@group(0) @binding(3) var<storage, read> a: array<In1>;
@group(0) @binding(4) var<storage, read> b: array<In2>;

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
    var at_c = 0i;
    var at_a = 0i;
    var at_b = 0i;
    for (var axis = params.axes; axis > 0u; axis--) {
        let slot = axis - 1u;
        let size = params.shape[slot / 4u][slot % 4u];
        let index = i32(rest % size);
        rest /= size;
        at_c += index * params.c_strides[slot / 4u][slot % 4u];
        at_a += index * params.a_strides[slot / 4u][slot % 4u];
        at_b += index * params.b_strides[slot / 4u][slot % 4u];
    }
    if is_true(condition[at_c]) {
        y[i] = Out(a[at_a]);
    } else {
        y[i] = Out(b[at_b]);
    }
}
