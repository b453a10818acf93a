// Winograd's F(4×4, 3×3), output transform: 4×4 outputs from a tile's 36 sums, Aᵀ m A, with bias and activation. An
// invocation takes four adjacent tiles of one channel, one in each component of a vector. If fused with 2×2 max
// pooling, a tile yields 2×2 maxima.

struct Params {
    len: u32,
    channels: u32,
    // Tiles of this call, and quads of them.
    tiles: u32,
    quads: u32,
    // Quads in a block of columns, and the distance between products.
    block: u32,
    step: u32,
    grid: vec2<u32>,
    // Height and width of the output.
    out_hw: vec2<u32>,
    // Number of the first tile in the batch.
    first: u32,
    out_offset: u32,
    out_total: u32,
    act_a: f32,
    act_b: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Out>>;
@group(0) @binding(2) var sums: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;

// 1 to store the maxima over every 2×2 outputs.
override POOLED: u32 = 0u;

struct Four {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

fn transform(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, e: vec4<f32>, f: vec4<f32>) -> Four {
    let near_sum = b + c;
    let near_difference = b - c;
    let far_sum = d + e;
    let far_difference = d - e;
    return Four(
        a + near_sum + far_sum,
        near_difference + 2.0 * far_difference,
        near_sum + 4.0 * far_sum,
        near_difference + 8.0 * far_difference + f,
    );
}

// Column j of the 6×6 sums, transformed.
fn column(at: u32, j: u32) -> Four {
    return transform(
        textureLoad(sums, place(at + j * params.step)),
        textureLoad(sums, place(at + (j + 6u) * params.step)),
        textureLoad(sums, place(at + (j + 12u) * params.step)),
        textureLoad(sums, place(at + (j + 18u) * params.step)),
        textureLoad(sums, place(at + (j + 24u) * params.step)),
        textureLoad(sums, place(at + (j + 30u) * params.step)),
    );
}

struct Tiles {
    real: vec4<bool>,
    top: vec4<u32>,
    left: vec4<u32>,
    plane: vec4<u32>,
}

// Stores a row of each tile.
fn store(t: Tiles, row: u32, v: Four, b: f32) {
    let down = t.top + row;
    let at = t.plane + down * params.out_hw.y + t.left;
    let real = t.real & (down < vec4(params.out_hw.x));
    let room = select(vec4(0u), params.out_hw.y - t.left, real);
    store_run(at.x, room.x, vec4(v.a.x, v.b.x, v.c.x, v.d.x) + b);
    store_run(at.y, room.y, vec4(v.a.y, v.b.y, v.c.y, v.d.y) + b);
    store_run(at.z, room.z, vec4(v.a.z, v.b.z, v.c.z, v.d.z) + b);
    store_run(at.w, room.w, vec4(v.a.w, v.b.w, v.c.w, v.d.w) + b);
}

// Stores two maxima of each of two tiles.
fn store_pairs(at: vec2<u32>, real: vec2<bool>, wide: vec2<bool>, left: vec2<f32>, right: vec2<f32>) {
    store_four(
        vec4(at.x, at.x + 1u, at.y, at.y + 1u),
        vec4(real.x, wide.x, real.y, wide.y),
        vec4(left.x, right.x, left.y, right.y),
    );
}

// Stores a row of maxima of each tile from two rows of outputs: two maxima for each of four tiles.
fn store_maxima(t: Tiles, row: u32, upper: Four, lower: Four, b: f32) {
    let left = larger(larger(upper.a, upper.b), larger(lower.a, lower.b)) + b;
    let right = larger(larger(upper.c, upper.d), larger(lower.c, lower.d)) + b;
    let down = t.top + row;
    let at = t.plane + down * params.out_hw.y + t.left;
    let real = t.real & (down < vec4(params.out_hw.x)) & (t.left < vec4(params.out_hw.y));
    let wide = real & (t.left + 1u < vec4(params.out_hw.y));
    store_pairs(at.xy, real.xy, wide.xy, left.xy, right.xy);
    store_pairs(at.zw, real.zw, wide.zw, left.zw, right.zw);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = invocation(workgroup, workgroups, local);
    let c = cell(i);
    if i >= params.len || c.number >= params.quads {
        return;
    }
    let c0 = column(c.at, 0u);
    let c1 = column(c.at, 1u);
    let c2 = column(c.at, 2u);
    let c3 = column(c.at, 3u);
    let c4 = column(c.at, 4u);
    let c5 = column(c.at, 5u);

    let columns = c.number * 4u + vec4(0u, 1u, 2u, 3u);
    let tiles = params.first + columns;
    let lines = quotients(tiles, params.grid.y);
    let images = quotients(lines, params.grid.x);
    let planes = images * params.out_total + params.out_offset + c.channel;
    let side = select(4u, 2u, POOLED == 1u);
    let t = Tiles(
        columns < vec4(params.tiles),
        (lines - images * params.grid.x) * side,
        (tiles - lines * params.grid.y) * side,
        planes * params.out_hw.x * params.out_hw.y,
    );
    let b = bias[c.channel];
    let r0 = transform(c0.a, c1.a, c2.a, c3.a, c4.a, c5.a);
    let r1 = transform(c0.b, c1.b, c2.b, c3.b, c4.b, c5.b);
    let r2 = transform(c0.c, c1.c, c2.c, c3.c, c4.c, c5.c);
    let r3 = transform(c0.d, c1.d, c2.d, c3.d, c4.d, c5.d);
    if POOLED == 1u {
        store_maxima(t, 0u, r0, r1, b);
        store_maxima(t, 1u, r2, r3, b);
    } else {
        store(t, 0u, r0, b);
        store(t, 1u, r1, b);
        store(t, 2u, r2, b);
        store(t, 3u, r3, b);
    }
}
