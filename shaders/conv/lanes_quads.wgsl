// Convolution by 8 lanes where four pixels always lie together: a texel is four pixels of a channel.

@group(0) @binding(2) var x: In0;

fn fetch(at: vec4<u32>) -> vec4<f32> {
    return textureLoad(x, place(at.x));
}
