// Gradient of a convolution's weights. An invocation holds a tile of 8 filters × 8 elements of a patch in registers
// and iterates over the positions of its split's images.

struct Params {
    // Number of invocations.
    len: u32,
    // Number of tiles of a group's matrix.
    tiles: u32,
    // Elements of a patch, and one more, as `shared/patches.wgsl` requires.
    side: u32,
    group_channels: u32,
    group_filters: u32,
    groups: u32,
    batch: u32,
    // Images of a split.
    share: u32,
    channel_step: u32,
    pixel_step: u32,
    image_step: u32,
    // Distance between adjacent filters of the gradient, its first filter, and the distance between images.
    filter_step: u32,
    first_filter: u32,
    gradient_image_step: u32,
    // 1 if every pixel is its own window, so that there is no padding.
    points: u32,
    unused: u32,
    windows: Windows,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<vec4<In0>>;
@group(0) @binding(3) var<storage, read> gradient: array<In1>;

// Most positions whose products are summed before the sum is added to the output.
const BLOCK = 512u;

// Positions of four filters in the gradient. Filters after the group's last are not written.
fn filters(first: u32, group: u32) -> vec4<u32> {
    let of_group = min(first + vec4(0u, 1u, 2u, 3u), vec4(params.group_filters - 1u));
    return (params.first_filter + group * params.group_filters + of_group) * params.filter_step;
}

fn seen(places: vec4<u32>, at: u32) -> vec4<f32> {
    return vec4<f32>(
        vec4(gradient[places.x + at], gradient[places.y + at], gradient[places.z + at], gradient[places.w + at])
    );
}

// Element [j][i] of `products` belongs to filter `row + i` and element `column + j`.
fn add_quarter(matrix: u32, row: u32, column: u32, products: mat4x4<f32>, first: bool) {
    var all = products;
    for (var c = 0u; c < 4u; c++) {
        for (var r = 0u; r < 4u; r++) {
            if row + r < params.group_filters && column + c < params.side - 1u {
                let at = (matrix * params.group_filters + row + r) * (params.side - 1u) + column + c;
                sums[at] = all[c][r] + select(sums[at], 0.0, first);
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
    // Number of the group, counted over all splits.
    let matrix = i / params.tiles;
    let group = matrix % params.groups;
    let split = matrix / params.groups;
    let past_image = min((split + 1u) * params.share, params.batch);
    let positions = params.windows.out_hw.x * params.windows.out_hw.y;
    let across = (params.side + 6u) / 8u;
    let row = tile / across * 8u;
    let column = tile % across * 8u;
    let a0 = filters(row, group);
    let a1 = filters(row + 4u, group);
    let b0 = rows(column, group);
    let b1 = rows(column + 4u, group);
    var image = split * params.share;
    var start = 0u;
    var first = true;
    // At least one block, which writes zeros if there is no image.
    loop {
        var low_low = mat4x4<f32>();
        var low_high = mat4x4<f32>();
        var high_low = mat4x4<f32>();
        var high_high = mat4x4<f32>();
        var left_over = BLOCK;
        while left_over > 0u && image < past_image {
            let past = min(start + left_over, positions);
            let base = i32(image * params.image_step);
            for (var position = start; position < past; position++) {
                let top = i32(position / params.windows.out_hw.y * params.windows.stride.x);
                let left = i32(position % params.windows.out_hw.y * params.windows.stride.y);
                let at = base + (top * i32(params.windows.in_hw.y) + left) * i32(params.pixel_step);
                let place = image * params.gradient_image_step + position;
                let l0 = seen(a0, place);
                let l1 = seen(a1, place);
                let r0 = fetch(b0, top, left, at);
                let r1 = fetch(b1, top, left, at);
                low_low += outer(l0, r0);
                low_high += outer(l0, r1);
                high_low += outer(l1, r0);
                high_high += outer(l1, r1);
            }
            left_over -= past - start;
            start = past;
            if start == positions {
                start = 0u;
                image++;
            }
        }
        add_quarter(matrix, row, column, low_low, first);
        add_quarter(matrix, row, column + 4u, low_high, first);
        add_quarter(matrix, row + 4u, column, high_low, first);
        add_quarter(matrix, row + 4u, column + 4u, high_high, first);
        first = false;
        if image >= past_image {
            break;
        }
    }
}
