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
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;

// 0: maximum. 1: mean of the elements that exist. 2: mean with the padding as zeros.
override KIND: u32 = 0u;

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
    let window = vec2(down, pixel - down * params.out_hw.y) * params.stride;
    let base = plane * params.in_hw.x * params.in_hw.y;
    // In coordinates that start with the padding, so that nothing is negative.
    let first = params.pad_begin;
    let past = params.pad_begin + params.in_hw;
    let past_padding = past + params.pad_end;
    var highest = params.lowest;
    var sum = 0.0;
    var count = 0u;
    for (var ty = 0u; ty < params.kernel.x; ty++) {
        let row = window.x + ty * params.dilation.x;
        for (var tx = 0u; tx < params.kernel.y; tx++) {
            let column = window.y + tx * params.dilation.y;
            let real = row >= first.x && row < past.x && column >= first.y && column < past.y;
            if real {
                let v = x[base + (row - first.x) * params.in_hw.y + column - first.y];
                highest = select(highest, v, v > highest || v != v);
                sum += v;
            }
            if real || (KIND == 2u && row < past_padding.x && column < past_padding.y) {
                count++;
            }
        }
    }
    y[i] = select(sum / f32(count), highest, KIND == 0u);
}
