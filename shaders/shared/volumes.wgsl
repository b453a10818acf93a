// Placement of windows on a volume: depth, height and width. The fourth number of each vector is unused.
struct Volumes {
    input: vec4<u32>,
    output: vec4<u32>,
    kernel: vec4<u32>,
    stride: vec4<u32>,
    dilation: vec4<u32>,
    pad: vec4<u32>,
}

// Origin of a window, in coordinates of the volume.
fn origin(volumes: Volumes, window: u32) -> vec3<i32> {
    let row = window / volumes.output.z;
    let at = vec3(row / volumes.output.y, row % volumes.output.y, window % volumes.output.z);
    return vec3<i32>(at * volumes.stride.xyz) - vec3<i32>(volumes.pad.xyz);
}

// Index of the element at these coordinates; -1 in the padding.
fn element(volumes: Volumes, at: vec3<i32>) -> i32 {
    let size = vec3<i32>(volumes.input.xyz);
    let inside = all(at >= vec3(0)) && all(at < size);
    return select(-1, (at.x * size.y + at.y) * size.z + at.z, inside);
}
