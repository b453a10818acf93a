// Convolution for real GPUs: a workgroup computes 64 pixels × 64 channels, 8 × 8 for each invocation. It loads the
// operands of 16 products at a time into workgroup memory, where each is read eight times.

struct Params {
    // Number of workgroups: channel tiles, then pixel tiles, then groups.
    len: u32,
    pixel_tiles: u32,
    channel_tiles: u32,
    // Pixels of the whole batch.
    pixels: u32,
    windows: Windows,
    // Input and output channels of a group.
    group_in: u32,
    group_out: u32,
    groups: u32,
    out_offset: u32,
    out_total: u32,
    act_a: f32,
    act_b: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
// In the layout of `ConvTiled::pack`.
@group(0) @binding(3) var<storage, read> weights: array<vec4<Weights>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;

// By product, then by quads of pixels or channels.
var<workgroup> some_x: array<vec4<f32>, 256>;
var<workgroup> some_weights: array<vec4<f32>, 256>;

// Four pixels of the batch, and the origin of their windows in the input.
struct Quad {
    real: vec4<bool>,
    top: vec4<i32>,
    left: vec4<i32>,
    base: vec4<i32>,
}

fn quad(first: u32, group: u32) -> Quad {
    let pixels = first + vec4(0u, 1u, 2u, 3u);
    let out_plane = params.windows.out_hw.x * params.windows.out_hw.y;
    let image = pixels / out_plane;
    let inner = pixels % out_plane;
    return Quad(
        pixels < vec4(params.pixels),
        vec4<i32>(inner / params.windows.out_hw.y * params.windows.stride.x) - i32(params.windows.pad.x),
        vec4<i32>(inner % params.windows.out_hw.y * params.windows.stride.y) - i32(params.windows.pad.y),
        vec4<i32>((image * params.groups + group) * params.group_in * (params.windows.in_hw.x * params.windows.in_hw.y)),
    );
}

// The elements that the windows read for product `k`: tap by tap, and channel by channel within a tap.
fn fetch(q: Quad, k: u32) -> vec4<f32> {
    let tap = k / params.group_in;
    let row = q.top + i32(tap / params.windows.kernel.y * params.windows.dilation.x);
    let column = q.left + i32(tap % params.windows.kernel.y * params.windows.dilation.y);
    let inside = vec4<u32>(row) < vec4(params.windows.in_hw.x) & vec4<u32>(column) < vec4(params.windows.in_hw.y);
    let real = inside & q.real & vec4(tap < params.windows.kernel.x * params.windows.kernel.y);
    let plane = i32(k % params.group_in * params.windows.in_hw.x * params.windows.in_hw.y);
    let at = select(vec4(0i), q.base + plane + row * i32(params.windows.in_hw.y) + column, real);
    return select(vec4(0.0), vec4<f32>(vec4(x[at.x], x[at.y], x[at.z], x[at.w])), real);
}

fn store(pixel: u32, channel: u32, group: u32, sums: vec4<f32>) {
    let out_plane = params.windows.out_hw.x * params.windows.out_hw.y;
    if channel < params.group_out {
        for (var p = 0u; p < 4u; p++) {
            if pixel + p < params.pixels {
                let image = (pixel + p) / out_plane;
                let plane = image * params.out_total + params.out_offset + group * params.group_out + channel;
                let at = plane * out_plane + (pixel + p) % out_plane;
                y[at] = Out(activate(with_residual(sums[p], at), params.act_a, params.act_b));
            }
        }
    }
}

fn store_four(pixel: u32, channel: u32, group: u32, sums: mat4x4<f32>, b: vec4<f32>) {
    store(pixel, channel, group, sums[0] + b.x);
    store(pixel, channel + 1u, group, sums[1] + b.y);
    store(pixel, channel + 2u, group, sums[2] + b.z);
    store(pixel, channel + 3u, group, sums[3] + b.w);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // Surplus workgroups repeat the last unit, because all invocations must reach the barriers.
    let unit = min(workgroup.x + workgroup.y * workgroups.x, params.len - 1u);
    let tile = unit % params.channel_tiles;
    let first = unit / params.channel_tiles % params.pixel_tiles * 64u;
    let group = unit / params.channel_tiles / params.pixel_tiles;
    let depth = params.windows.kernel.x * params.windows.kernel.y * params.group_in;
    let steps = (depth + 15u) / 16u;
    let w = (group * params.channel_tiles + tile) * steps * 256u;
    // Loads: a quad of pixels, with four products of each.
    let source = quad(first + local % 16u * 4u, group);
    let row = local / 16u * 4u;
    // Sums: eight pixels × eight channels.
    let a = local % 8u * 2u;
    let b = local / 8u * 2u;
    // Columns are channels, rows are pixels: low and high pixels of low and high channels.
    var ll = mat4x4<f32>();
    var hl = mat4x4<f32>();
    var lh = mat4x4<f32>();
    var hh = mat4x4<f32>();
    for (var step = 0u; step < steps; step++) {
        for (var k = row; k < row + 4u; k++) {
            some_x[k * 16u + local % 16u] = fetch(source, step * 16u + k);
        }
        for (var part = local; part < 256u; part += 64u) {
            some_weights[part] = vec4<f32>(weights[w + step * 256u + part]);
        }
        workgroupBarrier();
        for (var k = 0u; k < 256u; k += 16u) {
            let x0 = some_x[k + a];
            let x1 = some_x[k + a + 1u];
            let w0 = some_weights[k + b];
            let w1 = some_weights[k + b + 1u];
            ll += outer(x0, w0);
            hl += outer(x1, w0);
            lh += outer(x0, w1);
            hh += outer(x1, w1);
        }
        workgroupBarrier();
    }
    let pixel = first + a * 4u;
    let channel = tile * 64u + b * 4u;
    let at = (group * params.channel_tiles + tile) * 16u + b;
    store_four(pixel, channel, group, ll, bias[at]);
    store_four(pixel + 4u, channel, group, hl, bias[at]);
    store_four(pixel, channel + 4u, group, lh, bias[at + 1u]);
    store_four(pixel + 4u, channel + 4u, group, hh, bias[at + 1u]);
}
