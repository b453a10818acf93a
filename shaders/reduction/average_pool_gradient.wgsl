// Gradient of average pooling. An invocation adds the shares of an element of the input in the gradients of its
// windows.

struct Params {
    windows: Windows,
    pad_end: vec2<u32>,
    len: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> gx: array<Out>;
@group(0) @binding(2) var<storage, read> gy: array<In0>;

// True if padding counts as zeros.
override PADDED: bool = false;

// Number of taps of a window before `end`, along both axes.
fn before(end: vec2<u32>, window: vec2<u32>) -> vec2<u32> {
    let room = max(end, window) - window + params.windows.dilation - 1u;
    let taps = vec2(quotient(room.x, params.windows.dilation.x), quotient(room.y, params.windows.dilation.y));
    return min(taps, params.windows.kernel);
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
    let row = quotient(i, params.windows.in_hw.y);
    let plane = quotient(row, params.windows.in_hw.x);
    // Coordinates start at the padding, so that none is negative.
    let at = vec2(row - plane * params.windows.in_hw.x, i - row * params.windows.in_hw.y) + params.windows.pad;
    let covered = covering(params.windows, at);
    let end = params.windows.pad + params.windows.in_hw;
    var sum = 0.0;
    for (var oy = covered.x; oy < covered.z; oy++) {
        for (var ox = covered.y; ox < covered.w; ox++) {
            let tap = tap_of(params.windows, vec2(oy, ox), at);
            if tap.x >= 0 && tap.y >= 0 {
                let window = vec2(oy, ox) * params.windows.stride;
                let real = before(end, window) - before(params.windows.pad, window);
                let counted = select(real, before(end + params.pad_end, window), PADDED);
                let place = (plane * params.windows.out_hw.x + oy) * params.windows.out_hw.y + ox;
                sum += f32(gy[place]) / f32(counted.x * counted.y);
            }
        }
    }
    gx[i] = Out(sum);
}
