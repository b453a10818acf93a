// Arrays as textures: element or texel `i` stands in row i / 4096. The last row is all zeros, for reads that should
// find nothing. A software device fetches texels several times faster than it loads from storage.

fn place(i: u32) -> vec2<u32> {
    return vec2(i % 4096u, i / 4096u);
}

// The first texel of the row of zeros.
fn nowhere(t: texture_2d<f32>) -> u32 {
    return (textureDimensions(t).y - 1u) * 4096u;
}

fn single(t: texture_2d<f32>, i: u32) -> f32 {
    return textureLoad(t, place(i), 0).x;
}
