// Convolution for software adapters with subgroups of 8 lanes. A lane holds 4 pixels, a subgroup 32 pixels × 16
// channels. Operands are textures, which such an adapter reads faster than storage; each weight is fetched by one
// lane and broadcast to the others.

struct Params {
    // Number of subgroups: blocks of 32 pixels × channel tiles × groups.
    len: u32,
    blocks: u32,
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
    // Quads of pixels in a plane of the input, if texels are quads.
    quads: u32,
    first: u32,
    // Number of blocks of a run.
    run: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Out>>;
// In the layout of `ConvLanes::pack`.
@group(0) @binding(3) var weights: Weights;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;

// The contents of `x`. 0: images. 1: images of whole quads, every pixel its own window. 2: the im2col matrix.
override FORM: u32 = 0u;

// Four adjacent pixels of the batch: whether they exist, and their position in channel 0 of the output.
struct Quad {
    real: vec4<bool>,
    target_at: vec4<u32>,
    // In the input: the windows' first row and column, and the position of the group's first plane.
    top: vec4<i32>,
    left: vec4<i32>,
    base: vec4<i32>,
}

fn quad(number: u32, group: u32) -> Quad {
    let pixels = number * 4u + vec4(0u, 1u, 2u, 3u);
    let out_plane = params.windows.out_hw.x * params.windows.out_hw.y;
    let image = quotients(pixels, out_plane);
    let inner = pixels - image * out_plane;
    let down = quotients(inner, params.windows.out_hw.y);
    let right = inner - down * params.windows.out_hw.y;
    let first = (params.first + image) * params.out_total + params.out_offset + group * params.group_out;
    return Quad(
        pixels < vec4(params.pixels),
        first * out_plane + inner,
        vec4<i32>(down * params.windows.stride.x) - i32(params.windows.pad.x),
        vec4<i32>(right * params.windows.stride.y) - i32(params.windows.pad.y),
        vec4<i32>((image * params.groups + group) * params.group_in * (params.windows.in_hw.x * params.windows.in_hw.y)),
    );
}

fn store(q: Quad, channel: u32, sums: vec4<f32>) {
    let at = q.target_at + channel * params.windows.out_hw.x * params.windows.out_hw.y;
    store_four(at, q.real & vec4(channel < params.group_out), sums);
}

fn store_channels(q: Quad, channel: u32, sums: mat4x4<f32>, b: vec4<f32>) {
    store(q, channel, sums[0] + b.x);
    store(q, channel + 1u, sums[1] + b.y);
    store(q, channel + 2u, sums[2] + b.z);
    store(q, channel + 3u, sums[3] + b.w);
}

struct Unit {
    block: u32,
    tile: u32,
    group: u32,
}

// The order of subgroups: groups; in each runs of blocks; in each channel tiles; in each the run's blocks. Adjacent
// subgroups write sequentially, which a processor predicts, and share their weights.
fn unit(number: u32) -> Unit {
    let group = quotient(number, params.blocks * params.channel_tiles);
    let of_group = number - group * params.blocks * params.channel_tiles;
    let first = quotient(of_group, params.run * params.channel_tiles) * params.run;
    let of_run = of_group - first * params.channel_tiles;
    // The last run may be shorter.
    let blocks = min(params.run, params.blocks - first);
    let tile = quotient(of_run, blocks);
    return Unit(first + of_run - tile * blocks, tile, group);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    // No early return: all lanes take part in broadcasts. Surplus subgroups repeat the last unit.
    let u = unit(min(invocation(workgroup, workgroups, local) / 8u, params.len - 1u));
    let number = u.block * 8u + lane;
    let q = quad(number, u.group);
    let plane = select(params.quads, params.windows.in_hw.x * params.windows.in_hw.y, FORM == 0u);
    let nothing = vec4(nowhere(textureDimensions(x)));
    let taps = params.windows.kernel.x * params.windows.kernel.y;
    var w = (u.group * params.channel_tiles + u.tile) * taps * ((params.group_in + 3u) / 4u) * 16u + lane;

    var sums = Sums();
    for (var ky = 0u; ky < params.windows.kernel.x; ky++) {
        for (var kx = 0u; kx < params.windows.kernel.y; kx++) {
            let row = q.top + i32(ky * params.windows.dilation.x);
            let column = q.left + i32(kx * params.windows.dilation.y);
            let inside_rows = vec4<u32>(row) < vec4(params.windows.in_hw.x);
            let inside_columns = vec4<u32>(column) < vec4(params.windows.in_hw.y);
            let real = inside_rows & inside_columns & q.real;
            let pixel = vec4<u32>(q.base + row * i32(params.windows.in_hw.y) + column);
            var at = select(nothing, pixel, real);
            if FORM == 1u {
                at = select(nothing, pixel / 4u, real);
            }
            if FORM == 2u {
                // Pixels of the last quad that do not exist are not stored.
                at = select(nothing, vec4(u.group * params.group_in * plane + number), q.real.x);
            }
            let step = select(vec4(0u), vec4(plane), at != nothing);
            for (var c = 0u; c < params.group_in; c += 4u) {
                // Weights of 4 input × 16 output channels, those of an input channel in 4 lanes.
                let w0 = textureLoad(weights, place(w));
                let w1 = textureLoad(weights, place(w + 8u));
                w += 16u;
                let x0 = fetch(at);
                let x1 = fetch(select(nothing, at + step, c + 1u < params.group_in));
                let x2 = fetch(select(nothing, at + 2u * step, c + 2u < params.group_in));
                let x3 = fetch(select(nothing, at + 3u * step, c + 3u < params.group_in));
                at += 4u * step;
                add_products(&sums, mat4x4(x0, x1, x2, x3), w0, w1);
            }
        }
    }
    let b = (u.group * params.channel_tiles + u.tile) * 4u;
    store_channels(q, u.tile * 16u, sums.a, bias[b]);
    store_channels(q, u.tile * 16u + 4u, sums.b, bias[b + 1u]);
    store_channels(q, u.tile * 16u + 8u, sums.c, bias[b + 2u]);
    store_channels(q, u.tile * 16u + 12u, sums.d, bias[b + 3u]);
}
