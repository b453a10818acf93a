//! Calls for the tests of all kernels that compute a convolution or part of one.

use crate::kernels::activation::Activation;
use crate::kernels::conv::shape::{ConvKernel, ImageRange};
use crate::kernels::window::Windows;

/// Difficult calls, each with the second half of its images.
pub(crate) fn parts() -> Vec<(String, ConvKernel, ImageRange)> {
    let part = |(label, conv): (String, ConvKernel)| {
        let images = ImageRange { first: conv.batch / 2, count: conv.batch.div_ceil(2) };
        (label, conv, images)
    };
    convs().into_iter().map(part).collect()
}

/// Difficult calls, each with and without a residual.
pub(crate) fn convs() -> Vec<(String, ConvKernel)> {
    let with = |(label, conv): &(&str, ConvKernel)| {
        (format!("{label}, and a residual"), ConvKernel { residual: true, ..conv.clone() })
    };
    let plain = plain_convs();
    let added: Vec<(String, ConvKernel)> = plain.iter().map(with).collect();
    plain.into_iter().map(|(label, conv)| (label.to_owned(), conv)).chain(added).collect()
}

/// Difficult calls without a residual.
pub(crate) fn plain_convs() -> Vec<(&'static str, ConvKernel)> {
    let plain = ConvKernel {
        batch: 1,
        groups: 1,
        in_channels: 3,
        out_channels: 5,
        windows: Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([8, 8]) },
        out_offset: 0,
        out_total: 5,
        residual: false,
        activation: Activation::None,
    };
    let point = ConvKernel { windows: Windows::points([8, 8]), ..plain.clone() };
    let rows = ConvKernel { windows: Windows::points([1, 1]), ..point.clone() };
    vec![
        ("3×3, padded", plain.clone()),
        ("two channels more than whole steps of four", ConvKernel { in_channels: 6, ..plain.clone() }),
        ("one of everything", ConvKernel { in_channels: 1, out_channels: 1, out_total: 1, ..rows.clone() }),
        (
            "many pixels and channels, batch 3, Relu",
            ConvKernel {
                batch: 3,
                in_channels: 17,
                out_channels: 67,
                out_total: 67,
                windows: Windows { in_hw: [33, 35], out_hw: [33, 35], ..plain.windows },
                activation: Activation::Relu,
                ..plain.clone()
            },
        ),
        (
            "stride 2, asymmetric padding, odd sizes",
            ConvKernel {
                windows: Windows {
                    in_hw: [9, 11],
                    out_hw: [5, 5],
                    stride: [2, 2],
                    pad: [1, 0],
                    ..plain.windows
                },
                batch: 2,
                ..plain.clone()
            },
        ),
        (
            "7×7 with stride 2",
            ConvKernel {
                windows: Windows {
                    in_hw: [31, 29],
                    out_hw: [16, 15],
                    kernel: [7, 7],
                    stride: [2, 2],
                    pad: [3, 3],
                    ..plain.windows
                },
                ..plain.clone()
            },
        ),
        (
            "dilated, strides of both axes unlike",
            ConvKernel {
                windows: Windows {
                    out_hw: [11, 3],
                    kernel: [2, 3],
                    stride: [1, 3],
                    dilation: [3, 2],
                    pad: [1, 2],
                    ..Windows::points([13, 12])
                },
                ..plain.clone()
            },
        ),
        (
            "three groups of odd sizes",
            ConvKernel {
                batch: 3,
                groups: 3,
                in_channels: 15,
                out_channels: 33,
                out_total: 33,
                ..plain.clone()
            },
        ),
        (
            "a part of a concatenation",
            ConvKernel { batch: 2, out_channels: 9, out_offset: 4, out_total: 17, ..plain.clone() },
        ),
        (
            "padding wider than the image",
            ConvKernel {
                windows: Windows { in_hw: [2, 1], out_hw: [6, 5], pad: [3, 3], ..plain.windows },
                ..plain.clone()
            },
        ),
        (
            "incomplete tiles of 4×4 pixels",
            ConvKernel {
                batch: 2,
                in_channels: 25,
                out_channels: 26,
                out_total: 26,
                windows: Windows { in_hw: [25, 27], out_hw: [25, 27], ..plain.windows },
                ..plain.clone()
            },
        ),
        (
            "incomplete tiles of 2×2 pixels",
            ConvKernel {
                batch: 2,
                in_channels: 65,
                out_channels: 66,
                out_total: 66,
                windows: Windows { in_hw: [7, 9], out_hw: [7, 9], ..plain.windows },
                ..plain.clone()
            },
        ),
        (
            "small planes of many channels",
            ConvKernel {
                batch: 5,
                in_channels: 37,
                out_channels: 90,
                out_total: 90,
                windows: Windows { in_hw: [5, 5], out_hw: [5, 5], ..plain.windows },
                ..plain.clone()
            },
        ),
        (
            "1×1 over an odd plane",
            ConvKernel {
                batch: 3,
                in_channels: 65,
                out_channels: 17,
                out_total: 17,
                windows: Windows::points([7, 7]),
                ..point.clone()
            },
        ),
        (
            "1×1 with stride 2",
            ConvKernel {
                windows: Windows { out_hw: [4, 4], stride: [2, 2], ..Windows::points([7, 7]) },
                ..point
            },
        ),
        (
            "a matrix product of 17 rows",
            ConvKernel { batch: 17, in_channels: 33, out_channels: 129, out_total: 129, ..rows.clone() },
        ),
        (
            "a matrix product of whole tiles, Relu",
            ConvKernel {
                batch: 4,
                in_channels: 64,
                out_channels: 32,
                out_total: 32,
                activation: Activation::Relu,
                ..rows.clone()
            },
        ),
        (
            "a part of a matrix product, in groups",
            ConvKernel {
                batch: 3,
                groups: 2,
                in_channels: 10,
                out_channels: 6,
                out_total: 6,
                ..rows.clone()
            },
        ),
        (
            "a slice of a matrix product's columns",
            ConvKernel {
                batch: 5,
                in_channels: 100,
                out_channels: 65,
                out_offset: 64,
                out_total: 130,
                ..rows
            },
        ),
        (
            "3×3 in tiles, odd sizes, no padding, a part of a concatenation",
            ConvKernel {
                batch: 3,
                in_channels: 33,
                out_channels: 19,
                windows: Windows { in_hw: [19, 16], out_hw: [17, 14], pad: [0, 0], ..plain.windows },
                out_offset: 5,
                out_total: 30,
                activation: Activation::Clip(-1.0, 2.0),
                ..plain.clone()
            },
        ),
        (
            "3×3 in tiles, many channels, padded on one side",
            ConvKernel {
                in_channels: 130,
                out_channels: 40,
                out_total: 40,
                windows: Windows { in_hw: [13, 70], out_hw: [13, 69], pad: [2, 0], ..plain.windows },
                ..plain.clone()
            },
        ),
        (
            "a 1-D filter as long as its signal",
            ConvKernel {
                windows: Windows {
                    in_hw: [1, 65],
                    out_hw: [1, 1],
                    kernel: [1, 65],
                    pad: [0, 0],
                    ..plain.windows
                },
                ..plain
            },
        ),
    ]
}

/// Difficult calls that can be fused with 2×2 max pooling.
pub(crate) fn pooled_convs() -> Vec<(&'static str, ConvKernel)> {
    let suits = |conv: &ConvKernel| conv.groups == 1 && conv.windows.out_hw.iter().all(|&n| n > 1);
    plain_convs().into_iter().filter(|(_, conv)| suits(conv)).collect()
}
