// The k largest or smallest elements of an axis. Each invocation takes an input element and counts those that precede
// it; if there are fewer than k, it writes its element at that index.

struct Params {
    len: u32,
    axis: u32,
    inner: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<In0>;

override SMALLEST: bool = false;
override INDICES: bool = false;

// True if `a` is larger than `b`; NaN is larger than all numbers.
fn above(a: f32, b: f32) -> bool {
    return a > b || (is_nan(a) && !is_nan(b));
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
    let own = i / params.inner % params.axis;
    let outer = i / params.inner / params.axis;
    let first = i - own * params.inner;
    let v = f32(x[i]);
    var rank = 0u;
    for (var a = 0u; a < params.axis; a++) {
        let other = f32(x[first + a * params.inner]);
        let before = select(above(other, v), above(v, other), SMALLEST);
        let after = select(above(v, other), above(other, v), SMALLEST);
        if before || (!after && a < own) {
            rank++;
        }
    }
    if rank < params.k {
        y[(outer * params.k + rank) * params.inner + i % params.inner] = select(v, f32(own), INDICES);
    }
}
