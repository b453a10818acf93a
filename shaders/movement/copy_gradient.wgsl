// Gradient of a copy that repeats elements: each element of the input sums the gradients of its copies. Axes from
// `kept` on are summed. An invocation computes a sum; if there are few long sums, a workgroup computes each.

struct Params {
    shape: array<vec4<u32>, 2>,
    gy_strides: array<vec4<i32>, 2>,
    gx_strides: array<vec4<i32>, 2>,
    kept: u32,
    axes: u32,
    len: u32,
    // Elements of a sum.
    count: u32,
    gy_offset: u32,
    gx_offset: u32,
    unused: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> gx: array<Out>;
@group(0) @binding(2) var<storage, read> gy: array<In0>;

// True if a workgroup computes a sum.
override WIDE: bool = false;

const BLOCK: u32 = 64u;

var<workgroup> parts: array<f32, 64>;

// Position of element `index` of the axes from `first` to before `end`: in the gradient of the output and of the input.
fn place(index: u32, first: u32, end: u32) -> vec2<i32> {
    var rest = index;
    var at = vec2(0i);
    for (var axis = end; axis > first; axis--) {
        let slot = axis - 1u;
        let size = params.shape[slot / 4u][slot % 4u];
        let more = quotient(rest, size);
        let step = i32(rest - more * size);
        rest = more;
        at += step * vec2(params.gy_strides[slot / 4u][slot % 4u], params.gx_strides[slot / 4u][slot % 4u]);
    }
    return at;
}

// Sum of every `step`-th element from `local` on. Sums are formed in blocks, whose sums are added: the rounding error
// then grows with the number of blocks, not of elements.
fn sum(start: i32, local: u32, step: u32) -> f32 {
    var whole = 0.0;
    for (var first = local; first < params.count; first += step * BLOCK) {
        var block = 0.0;
        for (var i = first; i < min(first + step * BLOCK, params.count); i += step) {
            block += f32(gy[start + place(i, params.kept, params.axes).x]);
        }
        whole += block;
    }
    return whole;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let origin = vec2(i32(params.gy_offset), i32(params.gx_offset));
    if !WIDE {
        let i = invocation(workgroup, workgroups, local);
        if i < params.len {
            let at = origin + place(i, 0u, params.kept);
            gx[at.y] = Out(sum(at.x, 0u, 1u));
        }
        return;
    }
    let i = workgroup.x + workgroup.y * workgroups.x;
    // Uniform over the workgroup, so that all invocations reach every barrier or none does.
    if i >= params.len {
        return;
    }
    let at = origin + place(i, 0u, params.kept);
    parts[local] = sum(at.x, local, 64u);
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half {
            parts[local] += parts[local + half];
        }
        workgroupBarrier();
    }
    if local == 0u {
        gx[at.y] = Out(parts[0]);
    }
}
