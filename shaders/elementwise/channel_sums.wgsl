// Sums of a gradient and of its product with an array over each channel, a workgroup for each channel. Sums are formed
// in blocks, whose sums are added: the rounding error then grows with the number of blocks, not of elements.

struct Params {
    channels: u32,
    inner: u32,
    // Elements of a channel.
    count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
@group(0) @binding(3) var<storage, read> gy: array<In1>;

const BLOCK: u32 = 64u;

var<workgroup> parts: array<vec2<f32>, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let channel = workgroup.x + workgroup.y * workgroups.x;
    // Uniform over the workgroup, so that all invocations reach every barrier or none does.
    if channel >= params.channels {
        return;
    }
    var whole = vec2(0.0);
    for (var first = local; first < params.count; first += 64u * BLOCK) {
        var block = vec2(0.0);
        for (var i = first; i < min(first + 64u * BLOCK, params.count); i += 64u) {
            let outer = quotient(i, params.inner);
            let at = (outer * params.channels + channel) * params.inner + i - outer * params.inner;
            let gradient = f32(gy[at]);
            block += vec2(gradient * f32(x[at]), gradient);
        }
        whole += block;
    }
    parts[local] = whole;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half {
            parts[local] += parts[local + half];
        }
        workgroupBarrier();
    }
    if local == 0u {
        sums[channel] = parts[0].x;
        sums[params.channels + channel] = parts[0].y;
    }
}
