// Winograd's input transform for quads of tiles in one row, after one column of padding, with four pixels a texel.
// The tiles read six texels, each component of which is a column of the required vectors.

@group(0) @binding(2) var x: In0;

// Positions of four tiles: the row, the texel before the first tile's, and the plane's first texel.
struct Tiles {
    top: i32,
    left: i32,
    plane: u32,
}

fn locate(number: u32, channel: u32) -> Tiles {
    let across = params.grid.y / 4u;
    let quad = params.first / 4u + number;
    let line = quotient(quad, across);
    let image = quotient(line, params.grid.x);
    return Tiles(
        i32((line - image * params.grid.x) * 4u) - i32(params.pad.x),
        i32((quad - line * across) * 4u) - 1,
        (image * params.channels + channel) * params.in_hw.x * params.in_hw.y / 4u,
    );
}

fn four(row: u32, real: bool, column: i32) -> vec4<f32> {
    let inside = real && u32(column) < params.in_hw.y / 4u;
    return textureLoad(x, place(select(nowhere(textureDimensions(x)), row + u32(column), inside)));
}

fn line(t: Tiles, down: i32) -> Six {
    let row = u32(t.top + down);
    let real = row < params.in_hw.x;
    let first = t.plane + row * params.in_hw.y / 4u;
    let t0 = four(first, real, t.left);
    let t1 = four(first, real, t.left + 1);
    let t2 = four(first, real, t.left + 2);
    let t3 = four(first, real, t.left + 3);
    let t4 = four(first, real, t.left + 4);
    let t5 = four(first, real, t.left + 5);
    return Six(
        vec4(t0.w, t1.w, t2.w, t3.w),
        vec4(t1.x, t2.x, t3.x, t4.x),
        vec4(t1.y, t2.y, t3.y, t4.y),
        vec4(t1.z, t2.z, t3.z, t4.z),
        vec4(t1.w, t2.w, t3.w, t4.w),
        vec4(t2.x, t3.x, t4.x, t5.x),
    );
}
