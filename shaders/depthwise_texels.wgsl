// Convolution of each channel by itself, for software devices: operands are textures, which such a device reads faster
// than storage. An invocation takes eight pixels in a row of a channel; where windows stand side by side (SLIDE), it
// fetches one new element of a half for the next tap, not four.

struct Params {
    len: u32,
    // Eights of pixels in a row.
    eights: u32,
    in_hw: vec2<u32>,
    out_hw: vec2<u32>,
    kernel: vec2<u32>,
    stride: vec2<u32>,
    dilation: vec2<u32>,
    pad: vec2<u32>,
    filters: u32,
    multiplier: u32,
    act_a: f32,
    act_b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var x: texture_2d<f32>;
@group(0) @binding(3) var weights: texture_2d<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;

override SLIDE: u32 = 0u;

// An element of a row that starts at `row`, which is `nothing` outside of the plane.
fn element(row: u32, column: i32, nothing: u32) -> f32 {
    return single(x, select(nothing, row + u32(column), row < nothing && u32(column) < params.in_hw.y));
}

fn four(row: u32, columns: vec4<i32>, nothing: u32) -> vec4<f32> {
    return vec4(
        element(row, columns.x, nothing),
        element(row, columns.y, nothing),
        element(row, columns.z, nothing),
        element(row, columns.w, nothing),
    );
}

fn store(at: u32, column: u32, sums: vec4<f32>) {
    for (var p = 0u; p < 4u; p++) {
        if column + p < params.out_hw.y {
            y[at + column + p] = activate(sums[p], params.act_a, params.act_b);
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
    let column = i % params.eights * 8u;
    let down = i / params.eights % params.out_hw.x;
    let plane = i / params.eights / params.out_hw.x;
    let filter_index = plane % params.filters;
    let image = plane / params.filters;
    let channel = image * (params.filters / params.multiplier) + filter_index / params.multiplier;
    let nothing = nowhere(x);
    let columns = vec4<i32>((column + vec4(0u, 1u, 2u, 3u)) * params.stride.y) - i32(params.pad.y);
    let far = i32(4u * params.stride.y);
    var w = filter_index * params.kernel.x * params.kernel.y;
    var low = vec4(bias[filter_index]);
    var high = low;
    for (var ky = 0u; ky < params.kernel.x; ky++) {
        let top = i32(down * params.stride.x + ky * params.dilation.x) - i32(params.pad.x);
        let start = (channel * params.in_hw.x + u32(top)) * params.in_hw.y;
        let row = select(nothing, start, u32(top) < params.in_hw.x);
        var v0 = four(row, columns, nothing);
        var v1 = four(row, columns + far, nothing);
        for (var kx = 0u; kx < params.kernel.y; kx++) {
            let weight = single(weights, w);
            w++;
            low += weight * v0;
            high += weight * v1;
            let next = columns + i32((kx + 1u) * params.dilation.y);
            if SLIDE == 1u {
                v0 = vec4(v0.yzw, v1.x);
                v1 = vec4(v1.yzw, element(row, next.w + 4, nothing));
            } else {
                v0 = four(row, next, nothing);
                v1 = four(row, next + far, nothing);
            }
        }
    }
    let at = (plane * params.out_hw.x + down) * params.out_hw.y;
    store(at, column, low);
    store(at, column + 4u, high);
}
