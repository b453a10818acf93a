// Gradient of maximum pooling. An invocation adds the gradients of the windows whose first maximum is its element.

struct Params {
    windows: Windows,
    len: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> gx: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
@group(0) @binding(3) var<storage, read> y: array<In1>;
@group(0) @binding(4) var<storage, read> gy: array<In2>;

// True if an earlier element of the window, in the order of its rows, equals its maximum.
fn is_preceded(plane: u32, window: vec2<u32>, tap: vec2<u32>, highest: f32) -> bool {
    let size = params.windows.in_hw;
    var found = false;
    for (var row = 0u; row <= tap.x && !found; row++) {
        let past = select(params.windows.kernel.y, tap.y, row == tap.x);
        for (var column = 0u; column < past; column++) {
            let at = window * params.windows.stride + vec2(row, column) * params.windows.dilation;
            let inside = all(at >= params.windows.pad) && all(at < params.windows.pad + size);
            let place = select(vec2(0u), at - params.windows.pad, inside);
            found = found || (inside && f32(x[(plane * size.x + place.x) * size.y + place.y]) == highest);
        }
    }
    return found;
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
    let own = f32(x[i]);
    var sum = 0.0;
    for (var oy = covered.x; oy < covered.z; oy++) {
        for (var ox = covered.y; ox < covered.w; ox++) {
            let window = vec2(oy, ox);
            let tap = tap_of(params.windows, window, at);
            let place = (plane * params.windows.out_hw.x + oy) * params.windows.out_hw.y + ox;
            if tap.x >= 0 && tap.y >= 0 && f32(y[place]) == own {
                if !is_preceded(plane, window, vec2<u32>(tap), own) {
                    sum += f32(gy[place]);
                }
            }
        }
    }
    gx[i] = Out(sum);
}
