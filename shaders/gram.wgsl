// Second moments of what windows see, added to what is there. An invocation holds a tile of 8 × 8
// products of a matrix's lower triangle in registers, as four quarters, and walks its split's positions
// image after image: 16 elements fetched for 64 multiplications.

// Whether every pixel is its own window: no padding to look out for.
override POINTS: u32 = 0u;

struct Params {
    // Invocations.
    len: u32,
    // Tiles of a matrix's lower triangle.
    tiles: u32,
    splits: u32,
    // Positions of a split, and of an image.
    share: u32,
    positions: u32,
    // Rows of a matrix, the last of them the constant 1.
    side: u32,
    group_channels: u32,
    batch: u32,
    channel_step: u32,
    pixel_step: u32,
    image_step: u32,
    unused: u32,
    in_hw: vec2<u32>,
    out_hw: vec2<u32>,
    kernel: vec2<u32>,
    stride: vec2<u32>,
    dilation: vec2<u32>,
    pad: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;

// Positions whose products are summed before they are added to the image's sum.
const BLOCK = 256u;

// Four rows of patches: where they look from their window's first element.
struct Rows {
    down: vec4<i32>,
    right: vec4<i32>,
    // How far the element is from the window's first one in channel 0.
    offset: vec4<i32>,
    // Elements, not the constant.
    data: vec4<bool>,
}

fn rows(first: u32, group: u32) -> Rows {
    let row = first + vec4(0u, 1u, 2u, 3u);
    // What is behind the last row computes the constant too, and is not written.
    let data = row < vec4(params.side - 1u);
    let taps = params.kernel.x * params.kernel.y;
    let tap = row % taps;
    let down = vec4<i32>(tap / params.kernel.y * params.dilation.x) - i32(params.pad.x);
    let right = vec4<i32>(tap % params.kernel.y * params.dilation.y) - i32(params.pad.y);
    let channel = vec4<i32>((group * params.group_channels + row / taps) * params.channel_step);
    let offset = channel + (down * i32(params.in_hw.y) + right) * i32(params.pixel_step);
    return Rows(down, right, offset, data);
}

// The rows' elements of the window that starts at (top, left), which is element `at` of channel 0.
fn fetch(r: Rows, top: i32, left: i32, at: i32) -> vec4<f32> {
    var real = r.data;
    if POINTS == 0u {
        let inside_rows = vec4<u32>(r.down + top) < vec4(params.in_hw.x);
        let inside_columns = vec4<u32>(r.right + left) < vec4(params.in_hw.y);
        real = real & inside_rows & inside_columns;
    }
    let place = select(vec4(0u), vec4<u32>(r.offset + at), real);
    let other = select(vec4(1.0), vec4(0.0), r.data);
    return select(other, vec4(x[place.x], x[place.y], x[place.z], x[place.w]), real);
}

// Column by column.
fn outer(a: vec4<f32>, b: vec4<f32>) -> mat4x4<f32> {
    return mat4x4(a * b.x, a * b.y, a * b.z, a * b.w);
}

fn add(matrix: u32, row: u32, column: u32, sums: mat4x4<f32>) {
    var quarter = sums;
    for (var r = row; r < min(row + 4u, params.side); r++) {
        for (var c = column; c < min(column + 4u, r + 1u); c++) {
            y[(matrix * params.side + r) * params.side + c] += quarter[c - column][r - row];
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
    let tile = i % params.tiles;
    let matrix = i / params.tiles;
    let split = matrix % params.splits;
    let group = matrix / params.splits;
    // The row of tiles whose first tile is the last at or before this one; a root may be off by one.
    var tile_row = u32((sqrt(8.0 * f32(tile) + 1.0) - 1.0) * 0.5);
    if tile_row * (tile_row + 1u) / 2u > tile {
        tile_row--;
    }
    if (tile_row + 1u) * (tile_row + 2u) / 2u <= tile {
        tile_row++;
    }
    let row = tile_row * 8u;
    let column = (tile - tile_row * (tile_row + 1u) / 2u) * 8u;
    let a0 = rows(row, group);
    let a1 = rows(row + 4u, group);
    let b0 = rows(column, group);
    let b1 = rows(column + 4u, group);
    let start = split * params.share;
    let end = min(start + params.share, params.positions);

    for (var image = 0u; image < params.batch; image++) {
        let weight = weights[image];
        if weight == 0.0 {
            continue;
        }
        let base = i32(image * params.image_step);
        var image00 = mat4x4<f32>();
        var image01 = mat4x4<f32>();
        var image10 = mat4x4<f32>();
        var image11 = mat4x4<f32>();
        for (var block = start; block < end; block += BLOCK) {
            var sum00 = mat4x4<f32>();
            var sum01 = mat4x4<f32>();
            var sum10 = mat4x4<f32>();
            var sum11 = mat4x4<f32>();
            for (var position = block; position < min(block + BLOCK, end); position++) {
                let top = i32(position / params.out_hw.y * params.stride.x);
                let left = i32(position % params.out_hw.y * params.stride.y);
                let at = base + (top * i32(params.in_hw.y) + left) * i32(params.pixel_step);
                let l0 = fetch(a0, top, left, at);
                let l1 = fetch(a1, top, left, at);
                let r0 = fetch(b0, top, left, at);
                let r1 = fetch(b1, top, left, at);
                sum00 += outer(l0, r0);
                sum01 += outer(l0, r1);
                sum10 += outer(l1, r0);
                sum11 += outer(l1, r1);
            }
            image00 += sum00;
            image01 += sum01;
            image10 += sum10;
            image11 += sum11;
        }
        add(matrix, row, column, weight * image00);
        add(matrix, row, column + 4u, weight * image01);
        add(matrix, row + 4u, column, weight * image10);
        add(matrix, row + 4u, column + 4u, weight * image11);
    }
}
