// Convolution as an implicit GEMM. An invocation holds a tile of 8 pixels × 8 output channels in registers: per input
// channel and tap it fetches 8 elements and 2 vectors of weights for 64 multiplications. Operands are read from
// storage directly: a GPU's cache serves neighbours, and a software adapter has nothing faster.
//
// The pixels of a tile are a stride apart, so that adjacent invocations read adjacent elements, and are counted over
// the whole batch, so that 1×1 maps fill tiles too.

struct Params {
    // Number of invocations.
    len: u32,
    // Pixels of the whole batch, and tiles of them.
    pixels: u32,
    pixel_tiles: u32,
    // Tiles of output channels of a group.
    channel_tiles: u32,
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
// In the layout of `Conv::pack`.
@group(0) @binding(3) var<storage, read> weights: array<vec4<Weights>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;

// Four pixels: their image, and the origin of their windows in coordinates of the input.
struct Quad {
    pixels: vec4<u32>,
    image: vec4<u32>,
    // Index in the output plane.
    inner: vec4<u32>,
    top: vec4<i32>,
    left: vec4<i32>,
    // Position of the group's first plane.
    base: vec4<i32>,
}

fn quad(pixels: vec4<u32>, group: u32) -> Quad {
    let out_plane = params.windows.out_hw.x * params.windows.out_hw.y;
    let in_plane = params.windows.in_hw.x * params.windows.in_hw.y;
    let image = pixels / out_plane;
    let inner = pixels % out_plane;
    return Quad(
        pixels,
        image,
        inner,
        vec4<i32>(inner / params.windows.out_hw.y * params.windows.stride.x) - i32(params.windows.pad.x),
        vec4<i32>(inner % params.windows.out_hw.y * params.windows.stride.y) - i32(params.windows.pad.y),
        vec4<i32>((image * params.groups + group) * params.group_in * in_plane),
    );
}

// True if the tap at this distance from the windows' origin is an element, not padding.
fn real(q: Quad, down: i32, right: i32) -> vec4<bool> {
    let rows = vec4<u32>(q.top + down) < vec4(params.windows.in_hw.x);
    let columns = vec4<u32>(q.left + right) < vec4(params.windows.in_hw.y);
    return rows & columns & (q.pixels < vec4(params.pixels));
}

fn address(q: Quad, down: i32, right: i32, real: vec4<bool>) -> vec4<u32> {
    let at = q.base + (q.top + down) * i32(params.windows.in_hw.y) + q.left + right;
    return select(vec4(0u), vec4<u32>(at), real);
}

fn fetch(at: vec4<u32>, real: vec4<bool>) -> vec4<f32> {
    return select(vec4(0.0), vec4<f32>(vec4(x[at.x], x[at.y], x[at.z], x[at.w])), real);
}

fn store(q: Quad, p: u32, channel: u32, group: u32, low: vec4<f32>, high: vec4<f32>) {
    if q.pixels[p] >= params.pixels {
        return;
    }
    let out_plane = params.windows.out_hw.x * params.windows.out_hw.y;
    let first = q.image[p] * params.out_total + params.out_offset + group * params.group_out + channel;
    var at = first * out_plane + q.inner[p];
    let sums = array(low, high);
    for (var c = 0u; c < min(8u, params.group_out - channel); c++) {
        y[at] = Out(activate(with_residual(sums[c / 4u][c % 4u], at), params.act_a, params.act_b));
        at += out_plane;
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
    let tile = i / params.pixel_tiles;
    let group = tile / params.channel_tiles;
    let first = i % params.pixel_tiles;
    let q0 = quad(first + vec4(0u, 1u, 2u, 3u) * params.pixel_tiles, group);
    let q1 = quad(first + vec4(4u, 5u, 6u, 7u) * params.pixel_tiles, group);
    let in_plane = params.windows.in_hw.x * params.windows.in_hw.y;

    // For each pixel: channels 0 to 3, then 4 to 7.
    var low = array<vec4<f32>, 8>();
    var high = array<vec4<f32>, 8>();
    var w = tile * params.windows.kernel.x * params.windows.kernel.y * params.group_in * 2u;
    for (var ky = 0u; ky < params.windows.kernel.x; ky++) {
        for (var kx = 0u; kx < params.windows.kernel.y; kx++) {
            let down = i32(ky * params.windows.dilation.x);
            let right = i32(kx * params.windows.dilation.y);
            let real0 = real(q0, down, right);
            let real1 = real(q1, down, right);
            var at0 = address(q0, down, right, real0);
            var at1 = address(q1, down, right, real1);
            for (var c = 0u; c < params.group_in; c++) {
                let w0 = vec4<f32>(weights[w]);
                let w1 = vec4<f32>(weights[w + 1u]);
                let v0 = fetch(at0, real0);
                let v1 = fetch(at1, real1);
                low[0] += w0 * v0.x;
                high[0] += w1 * v0.x;
                low[1] += w0 * v0.y;
                high[1] += w1 * v0.y;
                low[2] += w0 * v0.z;
                high[2] += w1 * v0.z;
                low[3] += w0 * v0.w;
                high[3] += w1 * v0.w;
                low[4] += w0 * v1.x;
                high[4] += w1 * v1.x;
                low[5] += w0 * v1.y;
                high[5] += w1 * v1.y;
                low[6] += w0 * v1.z;
                high[6] += w1 * v1.z;
                low[7] += w0 * v1.w;
                high[7] += w1 * v1.w;
                w += 2u;
                at0 += vec4(in_plane);
                at1 += vec4(in_plane);
            }
        }
    }

    let b0 = bias[2u * tile];
    let b1 = bias[2u * tile + 1u];
    let channel = (tile % params.channel_tiles) * 8u;
    store(q0, 0u, channel, group, low[0] + b0, high[0] + b1);
    store(q0, 1u, channel, group, low[1] + b0, high[1] + b1);
    store(q0, 2u, channel, group, low[2] + b0, high[2] + b1);
    store(q0, 3u, channel, group, low[3] + b0, high[3] + b1);
    store(q1, 0u, channel, group, low[4] + b0, high[4] + b1);
    store(q1, 1u, channel, group, low[5] + b0, high[5] + b1);
    store(q1, 2u, channel, group, low[6] + b0, high[6] + b1);
    store(q1, 3u, channel, group, low[7] + b0, high[7] + b1);
}
