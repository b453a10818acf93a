// Second moments of patches, accumulated. An invocation holds a tile of a matrix's lower triangle in registers and
// iterates over its split's positions, image after image. Reading dominates, so there are four ways to fetch:
//
// * ANY: tiles of 8 × 8, element by element: 16 of them for 64 products.
// * QUADS: windows of one pixel, whose planes are whole vectors of four positions.
// * LANES: windows of one pixel, whose channels are adjacent and whole vectors of four.
// * THREES: 3×3 windows with stride 1. A tile is one channel by another, 9 × 9; from one position to the next each
//   channel has one column of 3 new elements: 6 of them for 81 products.

override FETCH: u32 = 0u;
const QUADS = 1u;
const LANES = 2u;
const THREES = 3u;

struct Params {
    // Number of invocations.
    len: u32,
    // Tiles of a matrix's lower triangle.
    tiles: u32,
    splits: u32,
    // Positions of a split.
    share: u32,
    // Rows of a matrix, the last of them the constant 1.
    side: u32,
    group_channels: u32,
    batch: u32,
    // Consecutive images that share a weight.
    slices: u32,
    channel_step: u32,
    pixel_step: u32,
    image_step: u32,
    // 1 if every pixel is its own window, so that there is no padding.
    points: u32,
    windows: Windows,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<vec4<In0>>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;

// Most positions whose products are summed before the sum is added to the output.
const BLOCK = 512u;

// The part of the work that an invocation does.
struct Task {
    matrix: u32,
    group: u32,
    tile_row: u32,
    tile_column: u32,
    // Range of the positions.
    start: u32,
    end: u32,
}

fn task(i: u32) -> Task {
    let tile = i % params.tiles;
    let matrix = i / params.tiles;
    // The row of tiles whose first tile is the last at or before this one. The root may be off by one.
    var row = u32((sqrt(8.0 * f32(tile) + 1.0) - 1.0) * 0.5);
    if row * (row + 1u) / 2u > tile {
        row--;
    }
    if (row + 1u) * (row + 2u) / 2u <= tile {
        row++;
    }
    let start = matrix % params.splits * params.share;
    let end = min(start + params.share, params.windows.out_hw.x * params.windows.out_hw.y);
    return Task(matrix, matrix / params.splits, row, tile - row * (row + 1u) / 2u, start, end);
}

// Adds a product to its element, if that is in the lower triangle.
fn add(matrix: u32, row: u32, column: u32, product: f32) {
    if row < params.side && column <= row {
        y[(matrix * params.side + row) * params.side + column] += product;
    }
}

// `fetch`, or for adjacent channels a whole vector: all four are elements, or none is.
fn fetch_either(r: Rows, top: i32, left: i32, at: i32) -> vec4<f32> {
    if FETCH == LANES {
        return select(vec4(1.0), vec4<f32>(x[select(0u, u32(r.offset.x + at) / 4u, r.data.x)]), r.data.x);
    }
    return fetch(r, top, left, at);
}

// The rows' elements at four positions; a column of the result is a row of patches.
fn fetch_quad(r: Rows, at: i32) -> mat4x4<f32> {
    let place = select(vec4(0u), vec4<u32>(r.offset + at) / 4u, r.data);
    let one = vec4(1.0);
    return mat4x4(
        select(one, vec4<f32>(x[place.x]), r.data.x),
        select(one, vec4<f32>(x[place.y]), r.data.y),
        select(one, vec4<f32>(x[place.z]), r.data.z),
        select(one, vec4<f32>(x[place.w]), r.data.w),
    );
}

fn add_quarter(matrix: u32, row: u32, column: u32, products: mat4x4<f32>) {
    var all = products;
    for (var c = 0u; c < 4u; c++) {
        for (var r = 0u; r < 4u; r++) {
            add(matrix, row + r, column + c, all[c][r]);
        }
    }
}

fn tile_of_rows(t: Task) {
    let row = t.tile_row * 8u;
    let column = t.tile_column * 8u;
    let a0 = rows(row, t.group);
    let a1 = rows(row + 4u, t.group);
    let b0 = rows(column, t.group);
    let b1 = rows(column + 4u, t.group);
    for (var image = 0u; image < params.batch; image++) {
        let weight = weights[image / params.slices];
        if weight == 0.0 {
            continue;
        }
        let base = i32(image * params.image_step);
        for (var block = t.start; block < t.end; block += BLOCK) {
            let past = min(block + BLOCK, t.end);
            // By half of the rows, then half of the columns.
            var low_low = mat4x4<f32>();
            var low_high = mat4x4<f32>();
            var high_low = mat4x4<f32>();
            var high_high = mat4x4<f32>();
            if FETCH == QUADS {
                for (var position = block; position < past; position += 4u) {
                    let at = base + i32(position);
                    let l0 = transpose(fetch_quad(a0, at));
                    let l1 = transpose(fetch_quad(a1, at));
                    let r0 = fetch_quad(b0, at);
                    let r1 = fetch_quad(b1, at);
                    low_low += l0 * r0;
                    low_high += l0 * r1;
                    high_low += l1 * r0;
                    high_high += l1 * r1;
                }
            } else {
                for (var position = block; position < past; position++) {
                    let top = i32(position / params.windows.out_hw.y * params.windows.stride.x);
                    let left = i32(position % params.windows.out_hw.y * params.windows.stride.y);
                    let at = base + (top * i32(params.windows.in_hw.y) + left) * i32(params.pixel_step);
                    let l0 = fetch_either(a0, top, left, at);
                    let l1 = fetch_either(a1, top, left, at);
                    let r0 = fetch_either(b0, top, left, at);
                    let r1 = fetch_either(b1, top, left, at);
                    low_low += outer(l0, r0);
                    low_high += outer(l0, r1);
                    high_low += outer(l1, r0);
                    high_high += outer(l1, r1);
                }
            }
            add_quarter(t.matrix, row, column, weight * low_low);
            add_quarter(t.matrix, row, column + 4u, weight * low_high);
            add_quarter(t.matrix, row + 4u, column, weight * high_low);
            add_quarter(t.matrix, row + 4u, column + 4u, weight * high_high);
        }
    }
}

// The rows that a channel's windows of one row read.
struct Strip {
    // Positions of the three rows, and whether they are in the plane.
    first: vec3<i32>,
    real: vec3<bool>,
    // False for the constant.
    data: bool,
}

fn strip(channel: u32, group: u32, base: i32, top: i32) -> Strip {
    let lines = top + vec3(0, 1, 2);
    let plane = base + i32((group * params.group_channels + channel) * params.channel_step);
    let first = plane + lines * i32(params.windows.in_hw.y * params.pixel_step);
    let data = channel < params.group_channels;
    return Strip(first, (vec3<u32>(lines) < vec3(params.windows.in_hw.x)) & vec3(data), data);
}

// A column of the strip, from top to bottom. The constant is 1 at every window's first tap and 0 at the others.
fn fetch_column(s: Strip, at: i32) -> vec3<f32> {
    let real = s.real & vec3(u32(at) < params.windows.in_hw.y);
    let place = select(vec3(0u), vec3<u32>(s.first + at * i32(params.pixel_step)), real);
    let found = vec3(element(place.x), element(place.y), element(place.z));
    return select(vec3(select(1.0, 0.0, s.data), 0.0, 0.0), found, real);
}

fn outer3(a: vec3<f32>, b: vec3<f32>) -> mat3x3<f32> {
    return mat3x3(a * b.x, a * b.y, a * b.z);
}

// Adds products by columns of the windows; `row` and `column` are those of the columns' first taps.
fn add_ninth(matrix: u32, row: u32, column: u32, products: mat3x3<f32>) {
    var all = products;
    for (var c = 0u; c < 3u; c++) {
        for (var r = 0u; r < 3u; r++) {
            add(matrix, row + 3u * r, column + 3u * c, all[c][r]);
        }
    }
}

fn tile_of_channels(t: Task) {
    let row = t.tile_row * 9u;
    let column = t.tile_column * 9u;
    for (var image = 0u; image < params.batch; image++) {
        let weight = weights[image / params.slices];
        if weight == 0.0 {
            continue;
        }
        let base = i32(image * params.image_step);
        var position = t.start;
        while position < t.end {
            // By column of the first window, then of the second.
            var s00 = mat3x3<f32>();
            var s01 = mat3x3<f32>();
            var s02 = mat3x3<f32>();
            var s10 = mat3x3<f32>();
            var s11 = mat3x3<f32>();
            var s12 = mat3x3<f32>();
            var s20 = mat3x3<f32>();
            var s21 = mat3x3<f32>();
            var s22 = mat3x3<f32>();
            let past = min(position + BLOCK, t.end);
            while position < past {
                // Up to the end of the row of windows.
                let top = i32(position / params.windows.out_hw.y) - i32(params.windows.pad.x);
                let ox = position % params.windows.out_hw.y;
                let run = min(params.windows.out_hw.y - ox, past - position);
                position += run;
                var left = i32(ox) - i32(params.windows.pad.y);
                let a = strip(t.tile_row, t.group, base, top);
                let b = strip(t.tile_column, t.group, base, top);
                var l0 = fetch_column(a, left);
                var l1 = fetch_column(a, left + 1);
                var r0 = fetch_column(b, left);
                var r1 = fetch_column(b, left + 1);
                let end = left + i32(run);
                for (; left < end; left++) {
                    let l2 = fetch_column(a, left + 2);
                    let r2 = fetch_column(b, left + 2);
                    s00 += outer3(l0, r0);
                    s01 += outer3(l0, r1);
                    s02 += outer3(l0, r2);
                    s10 += outer3(l1, r0);
                    s11 += outer3(l1, r1);
                    s12 += outer3(l1, r2);
                    s20 += outer3(l2, r0);
                    s21 += outer3(l2, r1);
                    s22 += outer3(l2, r2);
                    l0 = l1;
                    l1 = l2;
                    r0 = r1;
                    r1 = r2;
                }
            }
            add_ninth(t.matrix, row, column, weight * s00);
            add_ninth(t.matrix, row, column + 1u, weight * s01);
            add_ninth(t.matrix, row, column + 2u, weight * s02);
            add_ninth(t.matrix, row + 1u, column, weight * s10);
            add_ninth(t.matrix, row + 1u, column + 1u, weight * s11);
            add_ninth(t.matrix, row + 1u, column + 2u, weight * s12);
            add_ninth(t.matrix, row + 2u, column, weight * s20);
            add_ninth(t.matrix, row + 2u, column + 1u, weight * s21);
            add_ninth(t.matrix, row + 2u, column + 2u, weight * s22);
        }
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
    if FETCH == THREES {
        tile_of_channels(task(i));
    } else {
        tile_of_rows(task(i));
    }
}
