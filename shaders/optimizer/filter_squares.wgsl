// Sums of squares of each filter. A workgroup computes the sum of one filter.

struct Params {
    count: u32,
    outer: u32,
    filters: u32,
    inner: u32,
    offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;

var<workgroup> parts: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let filter_index = workgroup.x + workgroup.y * workgroups.x;
    // Uniform over the workgroup, so that all invocations reach every barrier or none does.
    if filter_index >= params.count {
        return;
    }
    var part = 0.0;
    for (var i = local; i < params.outer * params.inner; i += 64u) {
        let w = weights[filter_element(filter_index, i, params.outer, params.filters, params.inner)];
        part += w * w;
    }
    parts[local] = part;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half {
            parts[local] += parts[local + half];
        }
        workgroupBarrier();
    }
    if local == 0u {
        sums[params.offset + filter_index] = parts[0];
    }
}
