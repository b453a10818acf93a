// Sums of squares of chunks of 1,024 elements. An invocation computes one sum.

struct Params {
    len: u32,
    chunks: u32,
    offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let chunk = invocation(workgroup, workgroups, local);
    if chunk >= params.chunks {
        return;
    }
    let first = chunk * 1024;
    let last = min(first + 1024, params.len);
    var sum = 0.0;
    for (var i = first; i < last; i++) {
        sum += x[i] * x[i];
    }
    y[params.offset + chunk] = sum;
}
