// Where windows lie on a plane: height, then width, of each. Zeros behind the last row and column follow from `out_hw`.
struct Windows {
    in_hw: vec2<u32>,
    out_hw: vec2<u32>,
    kernel: vec2<u32>,
    stride: vec2<u32>,
    dilation: vec2<u32>,
    pad: vec2<u32>,
}

