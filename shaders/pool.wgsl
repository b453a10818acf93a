// The maximum or mean of windows; an invocation an output element.

struct Params {
    len: u32,
    out_plane: u32,
    in_hw: vec2<u32>,
    out_hw: vec2<u32>,
    kernel: vec2<u32>,
    stride: vec2<u32>,
    dilation: vec2<u32>,
    pad_begin: vec2<u32>,
    pad_end: vec2<u32>,
    // Minus infinity, which WGSL cannot spell.
    lowest: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;

// 0: maximum. 1: mean of the elements that exist. 2: mean with the padding as zeros.
override KIND: u32 = 0u;

// The taps of a window along both axes that lie before `end`.
fn before(end: vec2<u32>, window: vec2<u32>) -> vec2<u32> {
    let room = max(end, window) - window + params.dilation - 1u;
    let taps = vec2(quotient(room.x, params.dilation.x), quotient(room.y, params.dilation.y));
    return min(taps, params.kernel);
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
    let plane = quotient(i, params.out_plane);
    let pixel = i - plane * params.out_plane;
    let down = quotient(pixel, params.out_hw.y);
    // In coordinates that start with the padding, so that nothing is negative.
    let window = vec2(down, pixel - down * params.out_hw.y) * params.stride;
    let inside = params.pad_begin + params.in_hw;
    let first = before(params.pad_begin, window);
    let past = max(before(inside, window), first);
    let corner = window + first * params.dilation - params.pad_begin;
    var row = (plane * params.in_hw.x + corner.x) * params.in_hw.y + corner.y;
    var highest = params.lowest;
    var sum = 0.0;
    for (var ty = first.x; ty < past.x; ty++) {
        var at = row;
        for (var tx = first.y; tx < past.y; tx++) {
            let v = f32(x[at]);
            if KIND == 0u {
                highest = select(highest, v, v > highest || v != v);
            } else {
                sum += v;
            }
            at += params.dilation.y;
        }
        row += params.dilation.x * params.in_hw.y;
    }
    let counted = select(past - first, before(inside + params.pad_end, window), KIND == 2u);
    y[i] = Out(select(sum / f32(counted.x * counted.y), highest, KIND == 0u));
}
