// Sums over each filter of a gradient and of its product with the weights, added to those of earlier steps. A workgroup
// computes the sums of one filter.

struct Params {
    count: u32,
    outer: u32,
    filters: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
// Element 1 is the largest norm, 0 in runs without an update.
@group(0) @binding(4) var<storage, read> settings: array<f32>;
@group(0) @binding(5) var<storage, read> norm: array<f32>;

var<workgroup> parts: array<vec4<f32>, 64>;
var<workgroup> magnitudes: array<f32, 64>;

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
    var part = vec4(0.0);
    var magnitude = 0.0;
    for (var i = local; i < params.outer * params.inner; i += 64u) {
        let at = filter_element(filter_index, i, params.outer, params.filters, params.inner);
        let g = gradient[at];
        let product = g * weights[at];
        part += vec4(g, g * g, abs(g), -product);
        magnitude += abs(product);
    }
    parts[local] = part;
    magnitudes[local] = magnitude;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half {
            parts[local] += parts[local + half];
            magnitudes[local] += magnitudes[local + half];
        }
        workgroupBarrier();
    }
    if local == 0u && updates(norm[0], settings[1]) {
        let first = 5u * filter_index;
        for (var i = 0u; i < 4u; i++) {
            sums[first + i] += parts[0][i];
        }
        sums[first + 4u] += magnitudes[0];
    }
}
