// Winograd's F(4×4, 3×3), first part: the 6×6 pixels that a tile of 4×4 outputs sees, Bᵀ d B. An invocation transforms
// a tile of a channel; element (i, j) of the result belongs to the product number 6 i + j.

struct Params {
    len: u32,
    channels: u32,
    // Tiles of all images of this call, and the row length of the products, which is rounded up.
    tiles: u32,
    columns: u32,
    grid: vec2<u32>,
    in_hw: vec2<u32>,
    pad: vec2<u32>,
    first: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var x: texture_2d<f32>;

struct Six {
    a: f32,
    b: f32,
    c: f32,
    d: f32,
    e: f32,
    f: f32,
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

fn pixel(plane: u32, row: i32, column: i32, nothing: u32) -> f32 {
    let real = u32(row) < params.in_hw.x && u32(column) < params.in_hw.y;
    return single(x, select(nothing, plane + u32(row) * params.in_hw.y + u32(column), real));
}

fn line(plane: u32, row: i32, left: i32, nothing: u32) -> Six {
    return transform(Six(
        pixel(plane, row, left, nothing),
        pixel(plane, row, left + 1, nothing),
        pixel(plane, row, left + 2, nothing),
        pixel(plane, row, left + 3, nothing),
        pixel(plane, row, left + 4, nothing),
        pixel(plane, row, left + 5, nothing),
    ));
}

fn store(at: u32, step: u32, column: u32, v: Six) {
    let t = transform(v);
    y[at + column * step] = t.a;
    y[at + (column + 6u) * step] = t.b;
    y[at + (column + 12u) * step] = t.c;
    y[at + (column + 18u) * step] = t.d;
    y[at + (column + 24u) * step] = t.e;
    y[at + (column + 30u) * step] = t.f;
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
    let channel = quotient(i, params.tiles);
    let tile = i - channel * params.tiles;
    let line_of_tiles = quotient(tile, params.grid.y);
    let image = quotient(line_of_tiles, params.grid.x);
    let top = i32((line_of_tiles - image * params.grid.x) * 4u) - i32(params.pad.x);
    let left = i32((tile - line_of_tiles * params.grid.y) * 4u) - i32(params.pad.y);
    let plane = ((params.first + image) * params.channels + channel) * params.in_hw.x * params.in_hw.y;
    let nothing = nowhere(x);
    let l0 = line(plane, top, left, nothing);
    let l1 = line(plane, top + 1, left, nothing);
    let l2 = line(plane, top + 2, left, nothing);
    let l3 = line(plane, top + 3, left, nothing);
    let l4 = line(plane, top + 4, left, nothing);
    let l5 = line(plane, top + 5, left, nothing);
    let step = params.channels * params.columns;
    let at = channel * params.columns + tile;
    store(at, step, 0u, Six(l0.a, l1.a, l2.a, l3.a, l4.a, l5.a));
    store(at, step, 1u, Six(l0.b, l1.b, l2.b, l3.b, l4.b, l5.b));
    store(at, step, 2u, Six(l0.c, l1.c, l2.c, l3.c, l4.c, l5.c));
    store(at, step, 3u, Six(l0.d, l1.d, l2.d, l3.d, l4.d, l5.d));
    store(at, step, 4u, Six(l0.e, l1.e, l2.e, l3.e, l4.e, l5.e));
    store(at, step, 5u, Six(l0.f, l1.f, l2.f, l3.f, l4.f, l5.f));
}
