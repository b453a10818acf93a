// Winograd's input transform over images with one pixel a texel.

// Positions of four tiles.
struct Tiles {
    real: vec4<bool>,
    top: vec4<i32>,
    left: vec4<i32>,
    plane: vec4<u32>,
}

fn locate(number: u32, channel: u32) -> Tiles {
    let columns = number * 4u + vec4(0u, 1u, 2u, 3u);
    let tiles = params.first + columns;
    let lines = quotients(tiles, params.grid.y);
    let images = quotients(lines, params.grid.x);
    return Tiles(
        columns < vec4(params.tiles),
        vec4<i32>((lines - images * params.grid.x) * 4u) - i32(params.pad.x),
        vec4<i32>((tiles - lines * params.grid.y) * 4u) - i32(params.pad.y),
        (images * params.channels + channel) * params.in_hw.x * params.in_hw.y,
    );
}

fn pixels(row: vec4<u32>, real: vec4<bool>, column: vec4<i32>) -> vec4<f32> {
    let inside = real & (vec4<u32>(column) < vec4(params.in_hw.y));
    return singles(select(vec4(nowhere(textureDimensions(x))), row + vec4<u32>(column), inside));
}

fn line(t: Tiles, down: i32) -> Six {
    let row = vec4<u32>(t.top + down);
    let real = t.real & (row < vec4(params.in_hw.x));
    let first = t.plane + row * params.in_hw.y;
    return Six(
        pixels(first, real, t.left),
        pixels(first, real, t.left + 1),
        pixels(first, real, t.left + 2),
        pixels(first, real, t.left + 3),
        pixels(first, real, t.left + 4),
        pixels(first, real, t.left + 5),
    );
}
