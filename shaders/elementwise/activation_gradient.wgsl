// Gradient of an elementwise function: the output's gradient times the derivative. A device that loads and stores lane
// by lane moves four elements for hardly more than one.

struct Params {
    len: u32,
    act_a: f32,
    act_b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> gx: array<vec4<Out>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<In0>>;
@group(0) @binding(3) var<storage, read> gy: array<vec4<In1>>;

// 1 if there are whole quads: an invocation then computes four elements.
override QUADS: u32 = 0u;

fn slope(x: f32) -> f32 {
    return derivative(ACT, x, params.act_a, params.act_b);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = invocation(workgroup, workgroups, local);
    if QUADS == 1u {
        if i < params.len / 4u {
            let p = vec4<f32>(x[i]);
            gx[i] = vec4<Out>(vec4<f32>(gy[i]) * vec4(slope(p.x), slope(p.y), slope(p.z), slope(p.w)));
        }
        return;
    }
    if i >= params.len {
        return;
    }
    gx[i / 4u][i % 4u] = Out(f32(gy[i / 4u][i % 4u]) * slope(f32(x[i / 4u][i % 4u])));
}
