// Cross-moments of target outputs and patches, accumulated. An invocation holds a tile of 8 filters × 8 elements of a
// patch in registers and iterates over its split's positions, image after image.

struct Params {
    // Number of invocations.
    len: u32,
    // Number of tiles of a matrix.
    tiles: u32,
    splits: u32,
    // Positions of a split.
    share: u32,
    // Elements of a patch, the last of them the constant 1.
    side: u32,
    group_channels: u32,
    group_filters: u32,
    batch: u32,
    // Consecutive images that share a weight.
    slices: u32,
    channel_step: u32,
    pixel_step: u32,
    image_step: u32,
    // Strides of `y` along filters, positions and images.
    filter_step: u32,
    position_step: u32,
    y_image_step: u32,
    // 1 if every pixel is its own window, so that there is no padding.
    points: u32,
    windows: Windows,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<vec4<In0>>;
@group(0) @binding(3) var<storage, read> y: array<In1>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;

// Most positions whose products are summed before the sum is added to the output.
const BLOCK = 512u;

// Positions of four filters in `y`. Filters after the group's last are not written.
fn filters(first: u32, group: u32) -> vec4<u32> {
    let of_group = min(first + vec4(0u, 1u, 2u, 3u), vec4(params.group_filters - 1u));
    return (group * params.group_filters + of_group) * params.filter_step;
}

fn wanted(places: vec4<u32>, at: u32) -> vec4<f32> {
    return vec4<f32>(vec4(y[places.x + at], y[places.y + at], y[places.z + at], y[places.w + at]));
}

// Element [j][i] of `products` belongs to filter `row + i` and element `column + j`.
fn add_quarter(matrix: u32, row: u32, column: u32, products: mat4x4<f32>) {
    var all = products;
    for (var c = 0u; c < 4u; c++) {
        for (var r = 0u; r < 4u; r++) {
            if row + r < params.group_filters && column + c < params.side {
                sums[(matrix * params.group_filters + row + r) * params.side + column + c] += all[c][r];
            }
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
    let group = matrix / params.splits;
    let start = matrix % params.splits * params.share;
    let end = min(start + params.share, params.windows.out_hw.x * params.windows.out_hw.y);
    let across = (params.side + 7u) / 8u;
    let row = tile / across * 8u;
    let column = tile % across * 8u;
    let a0 = filters(row, group);
    let a1 = filters(row + 4u, group);
    let b0 = rows(column, group);
    let b1 = rows(column + 4u, group);
    for (var image = 0u; image < params.batch; image++) {
        let weight = weights[image / params.slices];
        if weight == 0.0 {
            continue;
        }
        let base = i32(image * params.image_step);
        for (var block = start; block < end; block += BLOCK) {
            let past = min(block + BLOCK, end);
            var low_low = mat4x4<f32>();
            var low_high = mat4x4<f32>();
            var high_low = mat4x4<f32>();
            var high_high = mat4x4<f32>();
            for (var position = block; position < past; position++) {
                let top = i32(position / params.windows.out_hw.y * params.windows.stride.x);
                let left = i32(position % params.windows.out_hw.y * params.windows.stride.y);
                let at = base + (top * i32(params.windows.in_hw.y) + left) * i32(params.pixel_step);
                let from_y = image * params.y_image_step + position * params.position_step;
                let l0 = wanted(a0, from_y);
                let l1 = wanted(a1, from_y);
                let r0 = fetch(b0, top, left, at);
                let r1 = fetch(b1, top, left, at);
                low_low += outer(l0, r0);
                low_high += outer(l0, r1);
                high_low += outer(l1, r0);
                high_high += outer(l1, r1);
            }
            add_quarter(matrix, row, column, weight * low_low);
            add_quarter(matrix, row, column + 4u, weight * low_high);
            add_quarter(matrix, row + 4u, column, weight * high_low);
            add_quarter(matrix, row + 4u, column + 4u, weight * high_high);
        }
    }
}
