// Reduces an axis; an invocation computes an output element. Sums are formed in blocks, whose sums are added: the
// rounding error then grows with the number of blocks, not of elements.

struct Params {
    len: u32,
    axis: u32,
    inner: u32,
    // The result of an empty reduction: an infinity for Max and Min, for which WGSL has no literal.
    start: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;

// Numbered as in `ReduceOp`.
override OP: u32 = 0u;

const BLOCK: u32 = 64u;

fn join(a: f32, b: f32) -> f32 {
    switch OP {
        case 2u: { return select(a, b, b > a || is_nan(b)); }
        case 3u: { return select(a, b, b < a || is_nan(b)); }
        case 4u: { return a * b; }
        default: { return a + b; }
    }
}

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
    var whole = params.start;
    for (var first = 0u; first < params.axis; first += BLOCK) {
        var block = params.start;
        for (var a = first; a < min(first + BLOCK, params.axis); a++) {
            let v = f32(x[at]);
            let squared = OP == 5u || OP == 6u;
            block = join(block, select(select(v, abs(v), OP == 7u), v * v, squared));
            at += params.inner;
        }
        whole = join(whole, block);
    }
    switch OP {
        case 0u: { y[i] = Out(whole / f32(params.axis)); }
        case 5u: { y[i] = Out(sqrt(whole)); }
        default: { y[i] = Out(whole); }
    }
}
