// The windows that cover an element. Coordinates start at the padding.

// Index of the first window along each axis, and past the last one, that may cover the element.
fn covering(windows: Windows, at: vec2<u32>) -> vec4<u32> {
    let reach = (windows.kernel - 1u) * windows.dilation;
    let room = max(at, reach) - reach + windows.stride - 1u;
    let first = vec2(quotient(room.x, windows.stride.x), quotient(room.y, windows.stride.y));
    let last = vec2(quotient(at.x, windows.stride.x), quotient(at.y, windows.stride.y));
    return vec4(first, min(last + 1u, windows.out_hw));
}

// Tap of a window that reads the element, along each axis; -1 if none does because of the dilation.
fn tap_of(windows: Windows, window: vec2<u32>, at: vec2<u32>) -> vec2<i32> {
    let from_start = at - window * windows.stride;
    let taps = vec2(quotient(from_start.x, windows.dilation.x), quotient(from_start.y, windows.dilation.y));
    return select(vec2(-1), vec2<i32>(taps), taps * windows.dilation == from_start);
}
