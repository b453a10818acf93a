// Convolution by 8 lanes of images whose pixels lie anyhow: a texel is one pixel of a channel.

@group(0) @binding(2) var x: texture_storage_2d<r32float, read>;

fn fetch(at: vec4<u32>) -> vec4<f32> {
    return vec4(
        textureLoad(x, place(at.x)).x,
        textureLoad(x, place(at.y)).x,
        textureLoad(x, place(at.z)).x,
        textureLoad(x, place(at.w)).x,
    );
}
