// Convolution in one group, fused with 2×2 max pooling. An invocation computes one maximum for each of 4 channels:
// per input channel and tap it fetches the 4 elements that the outputs read, and a vector of weights.

struct Params {
    // Number of invocations.
    len: u32,
    // Maxima of a channel, over the whole batch.
    positions: u32,
    in_channels: u32,
    out_channels: u32,
    windows: Windows,
    // Number of maxima down and across.
    out_hw: vec2<u32>,
    out_offset: u32,
    out_total: u32,
    act_a: f32,
    act_b: f32,
    unused: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
// In the layout of `PooledConv::pack`.
@group(0) @binding(3) var<storage, read> weights: array<vec4<Weights>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;

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
    let windows = params.windows;
    let tile = i / params.positions;
    let position = i % params.positions;
    let plane = params.out_hw.x * params.out_hw.y;
    let image = position / plane;
    let inner = position % plane;
    let down = inner / params.out_hw.y * 2u + vec4(0u, 0u, 1u, 1u);
    let across = inner % params.out_hw.y * 2u + vec4(0u, 1u, 0u, 1u);
    let top = vec4<i32>(down * windows.stride.x) - i32(windows.pad.x);
    let left = vec4<i32>(across * windows.stride.y) - i32(windows.pad.y);

    // Sums of 4 channels, for each of the four outputs.
    var a = vec4(0.0);
    var b = vec4(0.0);
    var c = vec4(0.0);
    var d = vec4(0.0);
    var w = tile * windows.kernel.x * windows.kernel.y * params.in_channels;
    for (var ky = 0u; ky < windows.kernel.x; ky++) {
        for (var kx = 0u; kx < windows.kernel.y; kx++) {
            let row = top + i32(ky * windows.dilation.x);
            let column = left + i32(kx * windows.dilation.y);
            let real = vec4<u32>(row) < vec4(windows.in_hw.x) & vec4<u32>(column) < vec4(windows.in_hw.y);
            var at = select(vec4(0u), vec4<u32>(row * i32(windows.in_hw.y) + column), real);
            at += image * params.in_channels * windows.in_hw.x * windows.in_hw.y;
            for (var channel = 0u; channel < params.in_channels; channel++) {
                let seen = select(vec4(0.0), vec4<f32>(vec4(x[at.x], x[at.y], x[at.z], x[at.w])), real);
                let filters = vec4<f32>(weights[w]);
                a += filters * seen.x;
                b += filters * seen.y;
                c += filters * seen.z;
                d += filters * seen.w;
                w++;
                at += windows.in_hw.x * windows.in_hw.y;
            }
        }
    }

    let most = larger(larger(a, b), larger(c, d)) + bias[tile];
    let first = image * params.out_total + params.out_offset + tile * 4u;
    for (var channel = 0u; channel < min(4u, params.out_channels - tile * 4u); channel++) {
        let at = (first + channel) * plane + inner;
        y[at] = Out(activate(most[channel], params.act_a, params.act_b));
    }
}
