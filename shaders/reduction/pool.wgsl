// Maximum and average pooling; an invocation computes an output element. The most common case, maxima of windows two
// or three columns wide with stride 2 over rows of whole quads, computes four adjacent outputs from whole quads.

struct Params {
    len: u32,
    out_plane: u32,
    // Minus infinity, for which WGSL has no literal.
    lowest: f32,
    // Groups of four outputs in a row.
    across: u32,
    windows: Windows,
    pad_end: vec2<u32>,
    unused: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Out>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<In0>>;

// The kind of pooling. 0: maximum. 1: mean of the existing elements. 2: mean with padding as zeros.
override KIND: u32 = 0u;
// Four adjacent outputs: 1 if the first window starts at the row's start, 2 if it starts one before.
override FOURS: u32 = 0u;

// Number of taps of a window before `end`, along both axes.
fn before(end: vec2<u32>, window: vec2<u32>) -> vec2<u32> {
    let room = max(end, window) - window + params.windows.dilation - 1u;
    let taps = vec2(quotient(room.x, params.windows.dilation.x), quotient(room.y, params.windows.dilation.y));
    return min(taps, params.windows.kernel);
}

fn quad(at: u32, real: bool) -> vec4<f32> {
    return select(vec4(params.lowest), vec4<f32>(x[select(0u, at, real)]), real);
}

fn put(at: u32, room: u32, number: u32, value: f32) {
    if number < room {
        y[at / 4u][at % 4u] = Out(value);
    }
}

fn four(i: u32) {
    let line = quotient(i, params.across);
    let column = (i - line * params.across) * 4u;
    let plane = quotient(line, params.windows.out_hw.x);
    let window = vec2((line - plane * params.windows.out_hw.x) * params.windows.stride.x, 0u);
    let first = before(params.windows.pad, window).x;
    let past = max(before(params.windows.pad + params.windows.in_hw, window).x, first);
    let top = window.x + first * params.windows.dilation.x - params.windows.pad.x;
    let quads = params.windows.in_hw.y / 4u;
    let left = column / 2u;
    var at = (plane * params.windows.in_hw.x + top) * quads + left;
    var highest = vec4(params.lowest);
    for (var row = first; row < past; row++) {
        let b = quad(at, left < quads);
        let c = quad(at + 1u, left + 1u < quads);
        if FOURS == 2u {
            let a = quad(at - 1u, left > 0u && left <= quads);
            highest = larger(highest, vec4(a.w, b.y, b.w, c.y));
            highest = larger(highest, vec4(b.x, b.z, c.x, c.z));
            if params.windows.kernel.y == 3u {
                highest = larger(highest, vec4(b.y, b.w, c.y, c.w));
            }
        } else {
            highest = larger(highest, vec4(b.x, b.z, c.x, c.z));
            highest = larger(highest, vec4(b.y, b.w, c.y, c.w));
            if params.windows.kernel.y == 3u {
                let d = quad(at + 2u, left + 2u < quads);
                highest = larger(highest, vec4(b.z, c.x, c.z, d.x));
            }
        }
        at += params.windows.dilation.x * quads;
    }
    let target_at = line * params.windows.out_hw.y + column;
    if params.windows.out_hw.y % 4u == 0u {
        y[target_at / 4u] = vec4<Out>(highest);
    } else {
        let room = params.windows.out_hw.y - column;
        put(target_at, room, 0u, highest.x);
        put(target_at + 1u, room, 1u, highest.y);
        put(target_at + 2u, room, 2u, highest.z);
        put(target_at + 3u, room, 3u, highest.w);
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
    if FOURS != 0u {
        four(i);
        return;
    }
    let plane = quotient(i, params.out_plane);
    let pixel = i - plane * params.out_plane;
    let down = quotient(pixel, params.windows.out_hw.y);
    // Coordinates start at the padding, so that none is negative.
    let window = vec2(down, pixel - down * params.windows.out_hw.y) * params.windows.stride;
    let inside = params.windows.pad + params.windows.in_hw;
    let first = before(params.windows.pad, window);
    let past = max(before(inside, window), first);
    let corner = window + first * params.windows.dilation - params.windows.pad;
    var row = (plane * params.windows.in_hw.x + corner.x) * params.windows.in_hw.y + corner.y;
    var highest = params.lowest;
    var sum = 0.0;
    for (var ty = first.x; ty < past.x; ty++) {
        var at = row;
        for (var tx = first.y; tx < past.y; tx++) {
            let v = f32(x[at / 4u][at % 4u]);
            if KIND == 0u {
                highest = select(highest, v, v > highest || is_nan(v));
            } else {
                sum += v;
            }
            at += params.windows.dilation.y;
        }
        row += params.windows.dilation.x * params.windows.in_hw.y;
    }
    let counted = select(past - first, before(inside + params.pad_end, window), KIND == 2u);
    y[i / 4u][i % 4u] = Out(select(sum / f32(counted.x * counted.y), highest, KIND == 0u));
}
