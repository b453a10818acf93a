"""Conv and ConvTranspose."""

import numpy as np

from .common import LATEST, case, each, positive


def convolutions():
    """Conv in one, two and three dimensions."""
    each("conv_plain", (7, 11, 22), "y = Conv(x, w, b)", x=(2, 3, 6, 5), w=(4, 3, 3, 2), b=(4,))
    case("conv_no_bias", 11, "y = Conv<kernel_shape=[3, 3]>(x, w)", x=(2, 3, 5, 6), w=(5, 3, 3, 3))
    each(
        "conv_group2_pad_asym", (7, 11, LATEST),
        "y = Conv<group=2, kernel_shape=[3, 3], pads=[1, 0, 2, 1]>(x, w, b)",
        x=(2, 4, 5, 6), w=(6, 2, 3, 3), b=(6,),
    )
    case("conv_depthwise", 13, "y = Conv<group=5, pads=[1, 1, 1, 1]>(x, w, b)", x=(2, 5, 6, 4), w=(5, 1, 3, 3), b=(5,))
    case("conv_depthwise_multiplier2_stride2", 13, "y = Conv<group=3, strides=[2, 2], pads=[1, 1, 1, 1]>(x, w)",
         x=(2, 3, 7, 8), w=(6, 1, 3, 3))
    case("conv_depthwise_dilated5", 13, "y = Conv<group=2, dilations=[2, 1], pads=[4, 2, 4, 2]>(x, w, b)",
         x=(2, 2, 5, 6), w=(2, 1, 5, 5), b=(2,))
    case("conv_pointwise", 13, "y = Conv(x, w, b)", x=(2, 7, 3, 5), w=(9, 7, 1, 1), b=(9,))
    case("conv_pointwise_stride2", 13, "y = Conv<strides=[2, 2]>(x, w)", x=(2, 4, 5, 6), w=(3, 4, 1, 1))
    case("conv_pointwise_padded", 13, "y = Conv<pads=[1, 0, 0, 2]>(x, w, b)", x=(2, 2, 3, 3), w=(3, 2, 1, 1), b=(3,))
    case("conv_winograd_shape", 13, "y = Conv<pads=[1, 1, 1, 1]>(x, w, b)", x=(2, 17, 9, 7), w=(19, 17, 3, 3), b=(19,))
    case("conv_strides_differ", 11, "y = Conv<strides=[3, 2]>(x, w, b)", x=(2, 2, 10, 9), w=(3, 2, 4, 3), b=(3,))
    case("conv_dilated_asym", 11, "y = Conv<dilations=[2, 3], pads=[2, 0, 1, 4]>(x, w)", x=(2, 2, 7, 8), w=(3, 2, 3, 3))
    case("conv_kernel_as_large_as_image", 13, "y = Conv(x, w, b)", x=(2, 3, 4, 5), w=(6, 3, 4, 5), b=(6,))
    case("conv_kernel_larger_than_image", 13, "y = Conv<pads=[2, 2, 2, 2]>(x, w)", x=(2, 2, 3, 2), w=(3, 2, 5, 5))
    case("conv_7x7_stride2", 13, "y = Conv<strides=[2, 2], pads=[3, 3, 3, 3]>(x, w, b)",
         x=(2, 3, 9, 11), w=(4, 3, 7, 7), b=(4,))
    for mode in ("SAME_UPPER", "SAME_LOWER"):
        low = mode.lower()
        each(f"conv_{low}", (7, 13), f'y = Conv<auto_pad="{mode}", kernel_shape=[3, 4]>(x, w, b)',
             x=(2, 2, 6, 7), w=(3, 2, 3, 4), b=(3,))
        case(f"conv_{low}_stride2", 11, f'y = Conv<auto_pad="{mode}", strides=[2, 2]>(x, w)',
             x=(2, 2, 7, 6), w=(3, 2, 3, 2))
        case(f"conv_{low}_stride3_small_kernel", 11, f'y = Conv<auto_pad="{mode}", strides=[3, 3]>(x, w)',
             x=(2, 2, 8, 7), w=(3, 2, 2, 1))
    case("conv_same_upper_dilated", 11, 'y = Conv<auto_pad="SAME_UPPER", dilations=[2, 2]>(x, w)',
         x=(2, 2, 6, 7), w=(3, 2, 3, 2))
    case("conv_valid", 11, 'y = Conv<auto_pad="VALID", strides=[2, 1]>(x, w)', x=(2, 2, 6, 5), w=(3, 2, 3, 3))
    case("conv_notset", 11, 'y = Conv<auto_pad="NOTSET", pads=[0, 1, 0, 1]>(x, w)', x=(2, 2, 6, 5), w=(3, 2, 3, 3))
    each("conv1d", (7, 11), "y = Conv<pads=[2, 1], strides=[2], dilations=[2]>(x, w, b)",
         x=(2, 3, 11), w=(4, 3, 3), b=(4,))
    case("conv1d_group_same", 13, 'y = Conv<auto_pad="SAME_LOWER", group=2, strides=[2]>(x, w)',
         x=(2, 4, 7), w=(4, 2, 4))
    case("conv3d", 17, "y = Conv<pads=[1, 0, 1, 0, 1, 0]>(x, w, b)", x=(2, 2, 3, 4, 4), w=(3, 2, 2, 2, 3), b=(3,))
    case("conv_weight_is_data", 13, "y = Conv(x, x_w)", fixed=True, x=(2, 2, 4, 4), x_w=(3, 2, 3, 3))
    case("conv_twice_one_weight", 13,
         "t = Conv<pads=[1, 1, 1, 1]>(x, w, b)\nr = Relu(t)\ny = Conv<pads=[1, 1, 1, 1]>(r, w)",
         x=(2, 3, 4, 5), w=(3, 3, 3, 3), b=(3,))
    case("conv3d_stride_dilation_group", 13,
         "y = Conv<group=2, strides=[2, 1, 2], dilations=[1, 2, 1], pads=[1, 2, 0, 0, 2, 1]>(x, w, b)",
         x=(2, 4, 5, 6, 5), w=(6, 2, 3, 2, 3), b=(6,))
    case("conv3d_depthwise", 13, "y = Conv<group=3, pads=[1, 1, 1, 1, 1, 1]>(x, w)",
         x=(2, 3, 3, 4, 4), w=(3, 1, 3, 3, 3))
    case("conv3d_pointwise", 13, "y = Conv(x, w, b)", x=(2, 3, 3, 4, 2), w=(5, 3, 1, 1, 1), b=(5,))


def transposed():
    """ConvTranspose in one, two and three dimensions."""
    each("convtranspose_plain", (7, 11, 22), "y = ConvTranspose(x, w, b)", x=(2, 3, 4, 5), w=(3, 4, 3, 2), b=(4,))
    case("convtranspose_stride2_k2", 13, "y = ConvTranspose<strides=[2, 2]>(x, w, b)",
         x=(2, 3, 4, 5), w=(3, 4, 2, 2), b=(4,))
    case("convtranspose_stride2_k3_outpad", 13,
         "y = ConvTranspose<strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]>(x, w)",
         x=(2, 3, 4, 5), w=(3, 2, 3, 3))
    case("convtranspose_stride3_k2", 13, "y = ConvTranspose<strides=[3, 3]>(x, w)", x=(2, 2, 3, 4), w=(2, 3, 2, 2))
    case("convtranspose_dilated_asym", 13,
         "y = ConvTranspose<strides=[2, 1], dilations=[2, 3], pads=[0, 2, 1, 1]>(x, w, b)",
         x=(2, 2, 4, 5), w=(2, 3, 3, 2), b=(3,))
    case("convtranspose_pad_beyond_kernel", 13, "y = ConvTranspose<strides=[2, 2], pads=[2, 1, 0, 3]>(x, w)",
         x=(2, 2, 6, 7), w=(2, 3, 1, 2))
    case("convtranspose_group2", 13, "y = ConvTranspose<group=2, strides=[2, 2], pads=[1, 1, 1, 1]>(x, w, b)",
         x=(2, 4, 4, 3), w=(4, 3, 3, 4), b=(6,))
    case("convtranspose_depthwise", 13, "y = ConvTranspose<group=3, strides=[2, 2]>(x, w)",
         x=(2, 3, 4, 3), w=(3, 1, 4, 4))
    case("convtranspose_depthwise_multiplier", 13, "y = ConvTranspose<group=3>(x, w, b)",
         x=(2, 3, 4, 3), w=(3, 2, 2, 2), b=(6,))
    case("convtranspose_output_shape", 13, "y = ConvTranspose<strides=[3, 2], output_shape=[10, 8]>(x, w)",
         x=(2, 2, 3, 3), w=(2, 3, 3, 3))
    for mode in ("SAME_UPPER", "SAME_LOWER"):
        case(f"convtranspose_{mode.lower()}", 13, f'y = ConvTranspose<auto_pad="{mode}", strides=[2, 2]>(x, w)',
             x=(2, 2, 3, 4), w=(2, 3, 3, 3))
    case("convtranspose_batchnorm_relu", 15,
         "t = ConvTranspose<strides=[2, 2]>(x, w, c)\nn = BatchNormalization(t, s, b, m, v)\ny = Relu(n)",
         x=(2, 2, 4, 5), w=(2, 3, 2, 2), c=(3,), s=(3,), b=(3,), m=(3,), v=positive(3))
    case("convtranspose_1d", 13, "y = ConvTranspose<strides=[2], pads=[1, 0]>(x, w, b)",
         x=(2, 3, 7), w=(3, 2, 4), b=(2,))
    case("convtranspose_3d", 13, "y = ConvTranspose<strides=[2, 1, 2]>(x, w, b)",
         x=(2, 2, 2, 3, 3), w=(2, 3, 2, 3, 2), b=(3,))
    case("conv_transpose", 11, "y = ConvTranspose<strides=[2, 2], pads=[1, 0, 0, 1], output_padding=[1, 0]>(x, w, b)",
         x=(2, 3, 3, 4), w=(3, 2, 3, 3), b=(2,))


def computed():
    """Conv and ConvTranspose whose weights or bias the network computes."""
    case("conv_computed_pads", 13, "y = Conv<pads=[1, 0, 2, 1], strides=[2, 1], dilations=[1, 2]>(x, x_w, x_b)", fixed=True,
         x=(2, 3, 6, 7), x_w=(5, 3, 3, 2), x_b=(5,))
    case("conv_computed_bias_only", 13, "y = Conv<pads=[1, 1, 1, 1]>(x, w, x_b)", x=(2, 3, 5, 4), w=(4, 3, 3, 3), x_b=(4,))
    case("conv_computed_group2", 13, "y = Conv<group=2>(x, x_w, b)", fixed=True, x=(2, 4, 5, 6), x_w=(6, 2, 3, 3), b=(6,))
    case("conv_computed_depthwise", 13, 'y = Conv<group=4, auto_pad="SAME_UPPER">(x, x_w)', fixed=True,
         x=(2, 4, 5, 6), x_w=(8, 1, 3, 3))
    case("conv_computed_1d", 13, "y = Conv<pads=[2, 1]>(x, x_w)", fixed=True, x=(2, 3, 11), x_w=(4, 3, 3))
    case("conv_computed_3d", 13, "y = Conv<group=2, pads=[1, 0, 1, 0, 1, 0], strides=[1, 2, 1]>(x, x_w)", fixed=True,
         x=(2, 4, 3, 5, 4), x_w=(6, 2, 2, 2, 3))
    case("conv_computed_batchnorm_relu", 15,
         "t = Conv<pads=[1, 1, 1, 1]>(x, x_w)\nn = BatchNormalization(t, s, b, m, v)\ny = Relu(n)", fixed=True,
         x=(2, 3, 5, 4), x_w=(4, 3, 3, 3), s=(4,), b=(4,), m=(4,), v=positive(4))
    # A kernel for each image: images become channels of one image, in as many groups.
    case("conv_computed_for_each_image", 13, """
        k = Conv<strides=[2, 2]>(x, wk, bk)
        kw = Reshape(k, filters)
        f = Conv<pads=[1, 1, 1, 1]>(x, w, b)
        ff = Reshape(f, one)
        c = Conv<group=2>(ff, kw)
        y = Reshape(c, back)""", fixed=True, x=(2, 3, 7, 7), wk=(10, 3, 3, 3), bk=(10,), w=(5, 3, 3, 3), b=(5,),
         filters=np.array([6, 5, 3, 2], np.int64), one=np.array([1, 10, 7, 7], np.int64),
         back=np.array([2, 3, 5, 6], np.int64))
    case("convtranspose_computed", 13, "y = ConvTranspose<strides=[2, 3], pads=[1, 0, 0, 2], dilations=[1, 2]>(x, x_w, x_b)",
         fixed=True, x=(2, 3, 4, 5), x_w=(3, 4, 3, 2), x_b=(4,))
    case("convtranspose_computed_group2", 13, "y = ConvTranspose<group=2, strides=[2, 2]>(x, x_w)", fixed=True,
         x=(2, 4, 4, 3), x_w=(4, 3, 3, 2))
    case("convtranspose_computed_3d", 13, "y = ConvTranspose<strides=[2, 1, 2]>(x, x_w)", fixed=True,
         x=(2, 2, 2, 3, 3), x_w=(2, 3, 2, 3, 2))
