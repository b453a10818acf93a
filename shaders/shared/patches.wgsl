// Patches: the elements that windows read of a group's channels, by channel, then tap, with a final constant 1.
// Requires the parameters of the windows (kernel, stride, dilation, pad, in_hw, points), of the layout of `x`
// (channel_step, pixel_step), and of the sizes (group_channels, side).

fn element(at: u32) -> f32 {
    return f32(x[at / 4u][at % 4u]);
}

// Four rows of patches: their offsets from the window's first element.
struct Rows {
    down: vec4<i32>,
    right: vec4<i32>,
    // Distance from the window's first element in channel 0.
    offset: vec4<i32>,
    // False for the constant. Rows after the last are the constant too, and are not written.
    data: vec4<bool>,
}

fn rows(first: u32, group: u32) -> Rows {
    let row = first + vec4(0u, 1u, 2u, 3u);
    let taps = params.windows.kernel.x * params.windows.kernel.y;
    let tap = row % taps;
    let down = vec4<i32>(tap / params.windows.kernel.y * params.windows.dilation.x) - i32(params.windows.pad.x);
    let right = vec4<i32>(tap % params.windows.kernel.y * params.windows.dilation.y) - i32(params.windows.pad.y);
    let channel = vec4<i32>((group * params.group_channels + row / taps) * params.channel_step);
    let offset = channel + (down * i32(params.windows.in_hw.y) + right) * i32(params.pixel_step);
    return Rows(down, right, offset, row < vec4(params.side - 1u));
}

// The rows' elements of the window that starts at (top, left), which is element `at` of channel 0.
fn fetch(r: Rows, top: i32, left: i32, at: i32) -> vec4<f32> {
    var real = r.data;
    if params.points == 0u {
        let inside_rows = vec4<u32>(r.down + top) < vec4(params.windows.in_hw.x);
        let inside_columns = vec4<u32>(r.right + left) < vec4(params.windows.in_hw.y);
        real = real & inside_rows & inside_columns;
    }
    let place = select(vec4(0u), vec4<u32>(r.offset + at), real);
    let found = vec4(element(place.x), element(place.y), element(place.z), element(place.w));
    return select(select(vec4(1.0), vec4(0.0), r.data), found, real);
}
