// Convolution of 8-bit integers by tiles in workgroup memory. A workgroup computes 64 pixels × 64 channels, 8 × 8 for
// each invocation. It loads the operands of 16 words at a time; a word holds the integers of four adjacent channels.

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
    // Position in `weights` of the sums of each channel's weights.
    weight_sums: u32,
    zero: i32,
    // What is subtracted from the numbers of `x`, so that they have a sign.
    shift: i32,
    act_a: f32,
    act_b: f32,
    unused: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
// In the layout of `IntegerConv::pack`.
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> scales: array<vec4<f32>>;

// By word, then by quads of pixels or channels.
var<workgroup> some_x: array<vec4<u32>, 256>;
var<workgroup> some_weights: array<vec4<u32>, 256>;
// By invocation: sums of all numbers that it has loaded, which are NaN if one was.
var<workgroup> some_loaded: array<vec4<f32>, 64>;

var<private> loaded: vec4<f32>;

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

// Word `k` of the windows: four channels of a tap.
fn fetch(q: Quad, k: u32) -> vec4<u32> {
    let per_tap = (params.group_in + 3u) / 4u;
    let tap = k / per_tap;
    let first = k % per_tap * 4u;
    let row = q.top + i32(tap / params.windows.kernel.y * params.windows.dilation.x);
    let column = q.left + i32(tap % params.windows.kernel.y * params.windows.dilation.y);
    let inside = vec4<u32>(row) < vec4(params.windows.in_hw.x) & vec4<u32>(column) < vec4(params.windows.in_hw.y);
    let real = inside & q.real & vec4(tap < params.windows.kernel.x * params.windows.kernel.y);
    let pixel = q.base + row * i32(params.windows.in_hw.y) + column;
    let plane = i32(params.windows.in_hw.x * params.windows.in_hw.y);
    // A float added to this one has its integer part in the last bits, as two's complement.
    let shift = 12582912.0 - f32(params.shift);
    var word = vec4(0u);
    for (var c = 0u; c < 4u; c++) {
        let exists = real & vec4(first + c < params.group_in);
        let at = select(vec4(0i), pixel + i32(first + c) * plane, exists);
        let elements = vec4<f32>(vec4(x[at.x], x[at.y], x[at.z], x[at.w]));
        let numbers = select(vec4(f32(params.zero)), elements, exists);
        loaded += numbers;
        word |= (bitcast<vec4<u32>>(numbers + shift) & vec4(255u)) << vec4(8u * c);
    }
    return word;
}

// The products of a pixel's word with those of four channels.
fn products(pixel: u32, channels: vec4<u32>) -> vec4<i32> {
    return vec4(
        dot4I8Packed(pixel, channels.x),
        dot4I8Packed(pixel, channels.y),
        dot4I8Packed(pixel, channels.z),
        dot4I8Packed(pixel, channels.w),
    );
}

// Stores four channels of a pixel. `seen` is NaN if a number in its windows was.
fn store(pixel: u32, channel: u32, group: u32, sums: vec4<i32>, seen: f32) {
    if pixel >= params.pixels || channel >= params.group_out {
        return;
    }
    let quad = (group * params.channel_tiles + channel / 64u) * 16u + channel % 64u / 4u;
    let of_weights = bitcast<vec4<i32>>(weights[params.weight_sums + quad]);
    let centered = sums - (params.zero - params.shift) * of_weights;
    let results = (vec4<f32>(centered) + bias[quad]) * scales[quad];
    let out_plane = params.windows.out_hw.x * params.windows.out_hw.y;
    let image = pixel / out_plane;
    let first = image * params.out_total + params.out_offset + group * params.group_out + channel;
    var at = first * out_plane + pixel % out_plane;
    for (var c = 0u; c < min(4u, params.group_out - channel); c++) {
        y[at] = Out(activate(select(results[c], seen, is_nan(seen)), params.act_a, params.act_b));
        at += out_plane;
    }
}

fn seen(quad: u32) -> vec4<f32> {
    return some_loaded[quad] + some_loaded[quad + 16u] + some_loaded[quad + 32u] + some_loaded[quad + 48u];
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
    let words = params.windows.kernel.x * params.windows.kernel.y * ((params.group_in + 3u) / 4u);
    let steps = (words + 15u) / 16u;
    let w = (group * params.channel_tiles + tile) * steps * 256u;
    // Loads: a quad of pixels, with four words of each.
    let source = quad(first + local % 16u * 4u, group);
    let row = local / 16u * 4u;
    // Sums: eight pixels × eight channels.
    let a = local % 8u * 2u;
    let b = local / 8u * 2u;
    // For each pixel: channels 0 to 3, then 4 to 7.
    var low = array<vec4<i32>, 8>();
    var high = array<vec4<i32>, 8>();
    loaded = vec4(0.0);
    for (var step = 0u; step < steps; step++) {
        for (var k = row; k < row + 4u; k++) {
            some_x[k * 16u + local % 16u] = fetch(source, step * 16u + k);
        }
        for (var part = local; part < 256u; part += 64u) {
            some_weights[part] = weights[w + step * 256u + part];
        }
        workgroupBarrier();
        for (var k = 0u; k < 256u; k += 16u) {
            let x0 = some_x[k + a];
            let x1 = some_x[k + a + 1u];
            let w0 = some_weights[k + b];
            let w1 = some_weights[k + b + 1u];
            low[0] += products(x0.x, w0);
            high[0] += products(x0.x, w1);
            low[1] += products(x0.y, w0);
            high[1] += products(x0.y, w1);
            low[2] += products(x0.z, w0);
            high[2] += products(x0.z, w1);
            low[3] += products(x0.w, w0);
            high[3] += products(x0.w, w1);
            low[4] += products(x1.x, w0);
            high[4] += products(x1.x, w1);
            low[5] += products(x1.y, w0);
            high[5] += products(x1.y, w1);
            low[6] += products(x1.z, w0);
            high[6] += products(x1.z, w1);
            low[7] += products(x1.w, w0);
            high[7] += products(x1.w, w1);
        }
        workgroupBarrier();
    }
    some_loaded[local] = loaded;
    workgroupBarrier();
    let seen0 = seen(a);
    let seen1 = seen(a + 1u);
    let pixel = first + a * 4u;
    let channel = tile * 64u + b * 4u;
    for (var p = 0u; p < 4u; p++) {
        store(pixel + p, channel, group, low[p], seen0[p]);
        store(pixel + p, channel + 4u, group, high[p], seen0[p]);
        store(pixel + 4u + p, channel, group, low[p + 4u], seen1[p]);
        store(pixel + 4u + p, channel + 4u, group, high[p + 4u], seen1[p]);
    }
}
