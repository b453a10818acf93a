// Patches: the elements that windows see of the channels of a group, by channel, then tap, and behind them a constant
// 1. For shaders whose parameters say where windows lie (kernel, stride, dilation, pad, in_hw, points), how elements
// are stored in `x` (channel_step, pixel_step), and how many there are (group_channels, side).

fn element(at: u32) -> f32 {
    return f32(x[at / 4u][at % 4u]);
}

// Four rows of patches: where they look from their window's first element.
struct Rows {
    down: vec4<i32>,
    right: vec4<i32>,
    // How far the element is from the window's first one in channel 0.
    offset: vec4<i32>,
    // Elements, not the constant. What is behind the last row is the constant too, and not written.
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
