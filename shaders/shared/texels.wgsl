// Arrays as textures: element or texel `i` stands in row i / 4096. The last row is all zeros, for reads that should
// find nothing. A software device reads texels several times faster than storage, and these, which are read as they
// are, faster than those that are sampled.

fn place(i: u32) -> vec2<u32> {
    return vec2(i % 4096u, i / 4096u);
}

// The first texel of the row of zeros, by a texture's dimensions.
fn nowhere(dimensions: vec2<u32>) -> u32 {
    return (dimensions.y - 1u) * 4096u;
}
