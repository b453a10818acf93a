// What the windows of a convolution see, as a matrix: a row for every input channel and tap, a column for every pixel of
// some images. An invocation writes a channel's taps of one column.

struct Params {
    len: u32,
    // Pixels of these images, and the length of a row, which is rounded up.
    pixels: u32,
    columns: u32,
    channels: u32,
    windows: Windows,
    first: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

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
    let channel = quotient(i, params.pixels);
    let pixel = i - channel * params.pixels;
    let out_plane = params.windows.out_hw.x * params.windows.out_hw.y;
    let image = quotient(pixel, out_plane);
    let down = quotient(pixel - image * out_plane, params.windows.out_hw.y);
    let right = pixel - image * out_plane - down * params.windows.out_hw.y;
    let top = i32(down * params.windows.stride.x) - i32(params.windows.pad.x);
    let left = i32(right * params.windows.stride.y) - i32(params.windows.pad.y);
    let plane = ((params.first + image) * params.channels + channel) * params.windows.in_hw.x;
    let nothing = nowhere(textureDimensions(x));
    var at = channel * params.windows.kernel.x * params.windows.kernel.y * params.columns + pixel;
    for (var ky = 0u; ky < params.windows.kernel.x; ky++) {
        let row = top + i32(ky * params.windows.dilation.x);
        let start = (plane + u32(row)) * params.windows.in_hw.y;
        for (var kx = 0u; kx < params.windows.kernel.y; kx++) {
            let column = left + i32(kx * params.windows.dilation.y);
            let real = u32(row) < params.windows.in_hw.x && u32(column) < params.windows.in_hw.y;
            y[at] = single(select(nothing, start + u32(column), real));
            at += params.columns;
        }
    }
}
