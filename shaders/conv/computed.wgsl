// Convolution with computed weights. An invocation holds a tile of 4 windows × 4 output channels in registers. Its
// windows are a stride apart, so that adjacent invocations read adjacent elements.

struct Params {
    // Number of invocations.
    len: u32,
    // Windows on a volume, and tiles of them.
    positions: u32,
    position_tiles: u32,
    // Tiles of output channels of a group.
    channel_tiles: u32,
    windows: Volumes,
    // Input and output channels of a group.
    group_in: u32,
    group_out: u32,
    groups: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
@group(0) @binding(3) var<storage, read> weights: array<In1>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;

// The element at `at`, or zero in the padding.
fn fetch(base: u32, at: i32) -> f32 {
    return select(0.0, f32(x[base + u32(max(at, 0))]), at >= 0);
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
    let position_tile = i % params.position_tiles;
    let channel_tile = i / params.position_tiles % params.channel_tiles;
    // Number of the group, counted over all images.
    let group = i / params.position_tiles / params.channel_tiles;
    let windows = position_tile + vec4(0u, 1u, 2u, 3u) * params.position_tiles;
    let origins = array(
        origin(params.windows, windows.x),
        origin(params.windows, windows.y),
        origin(params.windows, windows.z),
        origin(params.windows, windows.w),
    );
    let channels = channel_tile * 4u + vec4(0u, 1u, 2u, 3u);
    let first = group % params.groups * params.group_out;
    // Channels outside read the last one, and are not written.
    let filters = first + min(channels, vec4(params.group_out - 1u));
    let size = params.windows.input.x * params.windows.input.y * params.windows.input.z;
    let kernel = params.windows.kernel.xyz;
    let taps = kernel.x * kernel.y * kernel.z;
    // Columns are channels, rows are windows.
    var sums = mat4x4<f32>();
    for (var tap = 0u; tap < taps; tap++) {
        let row = tap / kernel.z;
        let step = vec3<i32>(vec3(row / kernel.y, row % kernel.y, tap % kernel.z) * params.windows.dilation.xyz);
        let e0 = element(params.windows, origins[0] + step);
        let e1 = element(params.windows, origins[1] + step);
        let e2 = element(params.windows, origins[2] + step);
        let e3 = element(params.windows, origins[3] + step);
        var base = group * params.group_in * size;
        var at = filters * params.group_in * taps + tap;
        for (var c = 0u; c < params.group_in; c++) {
            let seen = vec4(fetch(base, e0), fetch(base, e1), fetch(base, e2), fetch(base, e3));
            sums[0] += seen * f32(weights[at.x]);
            sums[1] += seen * f32(weights[at.y]);
            sums[2] += seen * f32(weights[at.z]);
            sums[3] += seen * f32(weights[at.w]);
            base += size;
            at += vec4(taps);
        }
    }
    for (var c = 0u; c < 4u; c++) {
        for (var p = 0u; p < 4u; p++) {
            if channels[c] < params.group_out && windows[p] < params.positions {
                let channel = group * params.group_out + channels[c];
                y[channel * params.positions + windows[p]] = Out(sums[c][p] + bias[filters[c]]);
            }
        }
    }
}
