// Convolution by 8 lanes over images with four adjacent pixels of a channel a texel.

@group(0) @binding(2) var x: In0;

fn fetch(at: vec4<u32>) -> vec4<f32> {
    return textureLoad(x, place(at.x));
}
