// Winograd's F(4×4, 3×3), input transform: Bᵀ d B of the 6×6 pixels that a tile of 4×4 outputs reads. An invocation
// transforms four adjacent tiles of one channel, one in each component of a vector. Element (i, j) of the result
// belongs to product 6 i + j. The including shader defines the positions of four tiles (`locate`) and a row of their
// pixels (`line`).

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
    in_hw: vec2<u32>,
    pad: vec2<u32>,
    // Number of the first tile in the batch.
    first: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

struct Six {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
    e: vec4<f32>,
    f: vec4<f32>,
}

fn transform(v: Six) -> Six {
    let even = v.e - 4.0 * v.c;
    let odd = v.d - 4.0 * v.b;
    let near_even = v.e - v.c;
    let near_odd = 2.0 * (v.d - v.b);
    return Six(
        4.0 * v.a - 5.0 * v.c + v.e,
        even + odd,
        even - odd,
        near_even + near_odd,
        near_even - near_odd,
        4.0 * v.b - 5.0 * v.d + v.f,
    );
}

fn store(at: u32, column: u32, v: Six) {
    let t = transform(v);
    y[at + column * params.step] = t.a;
    y[at + (column + 6u) * params.step] = t.b;
    y[at + (column + 12u) * params.step] = t.c;
    y[at + (column + 18u) * params.step] = t.d;
    y[at + (column + 24u) * params.step] = t.e;
    y[at + (column + 30u) * params.step] = t.f;
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
    let tiles = locate(c.number, c.channel);
    let l0 = transform(line(tiles, 0));
    let l1 = transform(line(tiles, 1));
    let l2 = transform(line(tiles, 2));
    let l3 = transform(line(tiles, 3));
    let l4 = transform(line(tiles, 4));
    let l5 = transform(line(tiles, 5));
    store(c.at, 0u, Six(l0.a, l1.a, l2.a, l3.a, l4.a, l5.a));
    store(c.at, 1u, Six(l0.b, l1.b, l2.b, l3.b, l4.b, l5.b));
    store(c.at, 2u, Six(l0.c, l1.c, l2.c, l3.c, l4.c, l5.c));
    store(c.at, 3u, Six(l0.d, l1.d, l2.d, l3.d, l4.d, l5.d));
    store(c.at, 4u, Six(l0.e, l1.e, l2.e, l3.e, l4.e, l5.e));
    store(c.at, 5u, Six(l0.f, l1.f, l2.f, l3.f, l4.f, l5.f));
}
