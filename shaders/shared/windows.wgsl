// Placement of windows on a plane, each as height and width. Padding after the last row and column follows from
// `out_hw`.
struct Windows {
    in_hw: vec2<u32>,
    out_hw: vec2<u32>,
    kernel: vec2<u32>,
    stride: vec2<u32>,
    dilation: vec2<u32>,
    pad: vec2<u32>,
}

