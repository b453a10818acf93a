// Depthwise convolution with 3×3 filters, for software adapters. Fetching a texel costs as much for four elements as
// for one: an invocation fetches twelve elements of a row in four texels, computes eight pixels from them (four with
// stride 2), and advances over some rows, so that rows that windows share are fetched once.

struct Params {
    len: u32,
    // Tiles of pixels in a row, tiles of rows in a plane, and rows in a tile.
    across: u32,
    down: u32,
    rows: u32,
    in_hw: vec2<u32>,
    out_hw: vec2<u32>,
    pad: vec2<u32>,
    filters: u32,
    multiplier: u32,
    act_a: f32,
    act_b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Out>>;
@group(0) @binding(2) var x: In0;
// Three texels for each filter, one a row.
@group(0) @binding(3) var weights: texture_storage_2d<rgba32float, read>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;

override STRIDE: u32 = 1u;

// Twelve adjacent elements of a row.
struct Line {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
}

fn four(texel: i32, real: bool, nothing: u32) -> vec4<f32> {
    return textureLoad(x, place(select(nothing, u32(texel), real && texel >= 0)));
}

// Columns from `left` on of a row of a channel, zeros in the padding.
fn line(plane: u32, row: i32, left: i32, nothing: u32) -> Line {
    let real = u32(row) < params.in_hw.x;
    let first = i32((plane + u32(row)) * params.in_hw.y) + left;
    // Rounds down, also for positions before the first element.
    let texel = (first + 4) / 4 - 1;
    let behind = u32(first - texel * 4);
    let t0 = four(texel, real, nothing);
    let t1 = four(texel + 1, real, nothing);
    let t2 = four(texel + 2, real, nothing);
    let t3 = four(texel + 3, real, nothing);
    let one = (behind & 1u) != 0u;
    let u0 = select(t0, vec4(t0.yzw, t1.x), one);
    let u1 = select(t1, vec4(t1.yzw, t2.x), one);
    let u2 = select(t2, vec4(t2.yzw, t3.x), one);
    let u3 = select(t3, vec4(t3.yzw, 0.0), one);
    let two = (behind & 2u) != 0u;
    let column = left + vec4(0, 1, 2, 3);
    let width = vec4(params.in_hw.y);
    return Line(
        select(vec4(0.0), select(u0, vec4(u0.zw, u1.xy), two), vec4<u32>(column) < width),
        select(vec4(0.0), select(u1, vec4(u1.zw, u2.xy), two), vec4<u32>(column + 4) < width),
        select(vec4(0.0), select(u2, vec4(u2.zw, u3.xy), two), vec4<u32>(column + 8) < width),
    );
}

// Contribution of a filter's row to the first four pixels of a line, and to the second four.
fn low(l: Line, w: vec4<f32>) -> vec4<f32> {
    if STRIDE == 2u {
        return w.x * vec4(l.a.xz, l.b.xz) + w.y * vec4(l.a.yw, l.b.yw) + w.z * vec4(l.a.z, l.b.xz, l.c.x);
    }
    return w.x * l.a + w.y * vec4(l.a.yzw, l.b.x) + w.z * vec4(l.a.zw, l.b.xy);
}

fn high(l: Line, w: vec4<f32>) -> vec4<f32> {
    return w.x * l.b + w.y * vec4(l.b.yzw, l.c.x) + w.z * vec4(l.b.zw, l.c.xy);
}

fn store(at: u32, column: u32, sums: vec4<f32>) {
    store_run(at + column, max(params.out_hw.y, column) - column, sums);
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
    let tile = quotient(i, params.across);
    let plane = quotient(tile, params.down);
    let image = quotient(plane, params.filters);
    let filter_index = plane - image * params.filters;
    let channels = quotient(params.filters, params.multiplier);
    let channel = image * channels + quotient(filter_index, params.multiplier);
    let column = (i - tile * params.across) * (8u / STRIDE);
    let first = (tile - plane * params.down) * params.rows;
    let left = i32(column * STRIDE) - i32(params.pad.y);
    let source = channel * params.in_hw.x;
    let nothing = nowhere(textureDimensions(x));
    let w0 = textureLoad(weights, place(filter_index * 3u));
    let w1 = textureLoad(weights, place(filter_index * 3u + 1u));
    let w2 = textureLoad(weights, place(filter_index * 3u + 2u));
    let b = bias[filter_index];
    var row = i32(first * STRIDE) - i32(params.pad.x);
    var l0 = line(source, row, left, nothing);
    var l1 = line(source, row + 1, left, nothing);
    let last = min(first + params.rows, params.out_hw.x);
    for (var down = first; down < last; down++) {
        let l2 = line(source, row + 2, left, nothing);
        let at = (plane * params.out_hw.x + down) * params.out_hw.y;
        store(at, column, low(l0, w0) + low(l1, w1) + low(l2, w2) + b);
        if STRIDE == 1u {
            store(at, column + 4u, high(l0, w0) + high(l1, w1) + high(l2, w2) + b);
            l0 = l1;
            l1 = l2;
        } else {
            l0 = l2;
            l1 = line(source, row + 3, left, nothing);
        }
        row += i32(STRIDE);
    }
}
