// An input texture with one element a texel.

@group(0) @binding(2) var x: In0;

fn single(i: u32) -> f32 {
    return texel(place(i));
}

fn singles(at: vec4<u32>) -> vec4<f32> {
    return vec4(single(at.x), single(at.y), single(at.z), single(at.w));
}
