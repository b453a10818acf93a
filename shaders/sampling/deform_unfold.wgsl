// Samples of deformed windows. An invocation computes one tap of one window.

struct Params {
    len: u32,
    channels: u32,
    // Groups of channels that share offsets.
    groups: u32,
    unused: u32,
    windows: Windows,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
@group(0) @binding(3) var<storage, read> offsets: array<f32>;

// The weighted element at these coordinates of a plane. The weight stays a factor outside of the image, so that a NaN
// among the offsets yields NaN.
fn element(base: u32, row: f32, column: f32, weight: f32) -> f32 {
    let size = params.windows.in_hw;
    if row >= 0.0 && row < f32(size.x) && column >= 0.0 && column < f32(size.y) {
        return weight * f32(x[base + u32(row) * size.y + u32(column)]);
    }
    return weight * 0.0;
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
    let positions = params.windows.out_hw.x * params.windows.out_hw.y;
    let taps = params.windows.kernel.x * params.windows.kernel.y;
    let at = i % positions;
    let tap = i / positions % taps;
    let plane = i / positions / taps;
    let share = params.channels / params.groups;
    let group = plane / params.channels * params.groups + plane % params.channels / share;
    let window = vec2(at / params.windows.out_hw.y, at % params.windows.out_hw.y) * params.windows.stride;
    let step = vec2(tap / params.windows.kernel.y, tap % params.windows.kernel.y) * params.windows.dilation;
    let first = (group * taps + tap) * 2u * positions + at;
    let origin = vec2<f32>(vec2<i32>(window + step) - vec2<i32>(params.windows.pad));
    let place = origin + vec2(offsets[first], offsets[first + positions]);
    let corner = floor(place);
    let part = place - corner;
    let base = plane * params.windows.in_hw.x * params.windows.in_hw.y;
    let top = element(base, corner.x, corner.y, (1.0 - part.x) * (1.0 - part.y))
        + element(base, corner.x, corner.y + 1.0, (1.0 - part.x) * part.y);
    let bottom = element(base, corner.x + 1.0, corner.y, part.x * (1.0 - part.y))
        + element(base, corner.x + 1.0, corner.y + 1.0, part.x * part.y);
    y[i] = Out(top + bottom);
}
