// The im2col matrix of a convolution. It has a row for each input channel and tap, a column for each pixel of some
// images.
// An invocation writes a channel's taps of four columns.

struct Params {
    len: u32,
    // Pixels of these images, and quads in a row, of which the last is padded with zeros.
    pixels: u32,
    quads: u32,
    channels: u32,
    windows: Windows,
    first: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

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
    let channel = quotient(i, params.quads);
    let number = i - channel * params.quads;
    let pixels = number * 4u + vec4(0u, 1u, 2u, 3u);
    let out_plane = params.windows.out_hw.x * params.windows.out_hw.y;
    let images = quotients(pixels, out_plane);
    let inner = pixels - images * out_plane;
    let down = quotients(inner, params.windows.out_hw.y);
    let right = inner - down * params.windows.out_hw.y;
    let top = vec4<i32>(down * params.windows.stride.x) - i32(params.windows.pad.x);
    let left = vec4<i32>(right * params.windows.stride.y) - i32(params.windows.pad.y);
    let planes = ((params.first + images) * params.channels + channel) * params.windows.in_hw.x;
    let exists = pixels < vec4(params.pixels);
    let nothing = vec4(nowhere(textureDimensions(x)));
    var at = channel * params.windows.kernel.x * params.windows.kernel.y * params.quads + number;
    for (var ky = 0u; ky < params.windows.kernel.x; ky++) {
        let row = vec4<u32>(top + i32(ky * params.windows.dilation.x));
        let start = (planes + row) * params.windows.in_hw.y;
        let real = exists & (row < vec4(params.windows.in_hw.x));
        for (var kx = 0u; kx < params.windows.kernel.y; kx++) {
            let column = vec4<u32>(left + i32(kx * params.windows.dilation.y));
            y[at] = singles(select(nothing, start + column, real & (column < vec4(params.windows.in_hw.y))));
            at += params.quads;
        }
    }
}
