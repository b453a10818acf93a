// Depthwise convolution; an invocation computes four pixels of a channel. They are a stride apart, so that adjacent
// invocations read adjacent elements.

struct Params {
    len: u32,
    tiles: u32,
    filters: u32,
    multiplier: u32,
    windows: Windows,
    act_a: f32,
    act_b: f32,
    unused: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;

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
    let plane = i / params.tiles;
    let filter_index = plane % params.filters;
    let image = plane / params.filters;
    let channel = image * (params.filters / params.multiplier) + filter_index / params.multiplier;
    let pixels = i % params.tiles + vec4(0u, 1u, 2u, 3u) * params.tiles;
    // Origin of the four windows in coordinates of the input, negative in the padding.
    let top = vec4<i32>(pixels / params.windows.out_hw.y * params.windows.stride.x) - i32(params.windows.pad.x);
    let left = vec4<i32>(pixels % params.windows.out_hw.y * params.windows.stride.y) - i32(params.windows.pad.y);
    let base = i32(channel * params.windows.in_hw.x * params.windows.in_hw.y);
    var at_weight = filter_index * params.windows.kernel.x * params.windows.kernel.y;
    var sums = vec4(bias[filter_index]);
    for (var ky = 0u; ky < params.windows.kernel.x; ky++) {
        let row = top + i32(ky * params.windows.dilation.x);
        let row_real = vec4<u32>(row) < vec4(params.windows.in_hw.x);
        for (var kx = 0u; kx < params.windows.kernel.y; kx++) {
            let column = left + i32(kx * params.windows.dilation.y);
            let real = row_real & (vec4<u32>(column) < vec4(params.windows.in_hw.y));
            let at = select(vec4(0i), base + row * i32(params.windows.in_hw.y) + column, real);
            let v = vec4<f32>(vec4(x[at.x], x[at.y], x[at.z], x[at.w]));
            sums += weights[at_weight] * select(vec4(0.0), v, real);
            at_weight++;
        }
    }
    let out_plane = params.windows.out_hw.x * params.windows.out_hw.y;
    for (var p = 0u; p < 4u; p++) {
        if pixels[p] < out_plane {
            y[plane * out_plane + pixels[p]] = Out(activate(sums[p], params.act_a, params.act_b));
        }
    }
}
