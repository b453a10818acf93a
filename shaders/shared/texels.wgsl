// Arrays as textures: element or texel `i` is in row i / 4096. The last row is all zeros, for reads of padding. A
// software adapter reads texels several times faster than storage, and unsampled ones faster than sampled ones.

fn place(i: u32) -> vec2<u32> {
    return vec2(i % 4096u, i / 4096u);
}

// The first texel of the row of zeros, from the texture's dimensions.
fn nowhere(dimensions: vec2<u32>) -> u32 {
    return (dimensions.y - 1u) * 4096u;
}
