// Convolution by 8 lanes over images with one pixel a texel.

fn fetch(at: vec4<u32>) -> vec4<f32> {
    return singles(at);
}
