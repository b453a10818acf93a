"""Pooling, windowed and global."""

import numpy as np

from .common import case, each


def pools():
    """MaxPool, AveragePool and global pooling."""
    each("maxpool_plain", (7, 8, 10, 12, 22), "y = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)", x=(2, 3, 6, 7))
    case("maxpool_default_strides", 8, "y = MaxPool<kernel_shape=[2, 3]>(x)", x=(2, 3, 5, 6))
    case("maxpool_pad_asym", 11, "y = MaxPool<kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]>(x)",
         x=(2, 3, 6, 6))
    case("maxpool_pads_all_negative_image", 11, "y = MaxPool<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(x)",
         x=lambda r: r.uniform(-9, -1, (2, 2, 3, 4)).astype(np.float32))
    each("maxpool_ceil", (10, 12, 22), "y = MaxPool<kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1>(x)",
         x=(2, 3, 6, 8))
    # ceil_mode must omit a last window that lies entirely in the padding.
    case("maxpool_ceil_window_in_padding", 12,
         "y = MaxPool<kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1>(x)", x=(2, 2, 5, 4))
    case("maxpool_ceil_padded", 12,
         "y = MaxPool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1>(x)", x=(2, 2, 6, 7))
    each("maxpool_dilated", (10, 12),
         "y = MaxPool<kernel_shape=[2, 3], dilations=[2, 2], strides=[1, 2], pads=[1, 1, 0, 2]>(x)", x=(2, 2, 6, 8))
    for pool in ("MaxPool", "AveragePool"):
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
            case(f"{pool.lower()}_{mode.lower()}", 10,
                 f'y = {pool}<kernel_shape=[3, 2], strides=[2, 2], auto_pad="{mode}">(x)', x=(2, 2, 6, 7))
        case(f"{pool.lower()}1d", 11, f"y = {pool}<kernel_shape=[3], strides=[2], pads=[1, 0]>(x)", x=(2, 3, 8))
    case("maxpool_same_upper_stride1", 7, 'y = MaxPool<kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER">(x)',
         x=(2, 2, 4, 5))
    each("averagepool_plain", (7, 10, 11, 19, 22), "y = AveragePool<kernel_shape=[2, 2], strides=[2, 2]>(x)",
         x=(2, 3, 6, 7))
    for include in (0, 1):
        each(f"averagepool_include_pad{include}", (7, 11, 19),
             f"y = AveragePool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad={include}>(x)",
             x=(2, 3, 6, 7))
        case(f"averagepool_include_pad{include}_asym", 13,
             f"y = AveragePool<kernel_shape=[3, 2], pads=[0, 1, 2, 0], count_include_pad={include}>(x)", x=(2, 3, 5, 6))
        case(f"averagepool_ceil_include_pad{include}", 19,
             "y = AveragePool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, "
             f"count_include_pad={include}>(x)", x=(2, 2, 6, 8))
    case("averagepool_ceil", 19, "y = AveragePool<kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1>(x)", x=(2, 2, 5, 7))
    case("averagepool_dilated", 19, "y = AveragePool<kernel_shape=[2, 2], dilations=[2, 3]>(x)", x=(2, 2, 6, 7))
    for pool in ("GlobalAveragePool", "GlobalMaxPool"):
        each(f"{pool.lower()}", (7, 22), f"y = {pool}(x)", x=(2, 3, 4, 5))
        case(f"{pool.lower()}_1d", 13, f"y = {pool}(x)", x=(2, 3, 7))
        case(f"{pool.lower()}_1x1", 13, f"y = {pool}(x)", x=(2, 3, 1, 1))
    for pool in ("MaxPool", "AveragePool"):
        case(f"{pool.lower()}_3d", 13,
             f"y = {pool}<kernel_shape=[2, 3, 2], strides=[2, 1, 2], pads=[1, 1, 0, 0, 1, 1]>(x)", x=(2, 3, 4, 5, 5))
    case("averagepool_3d_count_pad", 13,
         "y = AveragePool<kernel_shape=[2, 2, 3], pads=[1, 0, 1, 1, 1, 1], count_include_pad=1>(x)", x=(2, 2, 3, 4, 4))
    each("globallppool", (7, 13), "y = GlobalLpPool(x)", x=(2, 3, 4, 5))
    case("globallppool_l1", 13, "y = GlobalLpPool<p=1>(x)", x=(2, 3, 7))


def unpools():
    """MaxPool with indices, and MaxUnpool, which needs them."""
    each("maxpool_indices", (8, 11, 22), "y, y_i = MaxPool<kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1]>(x)",
         x=(2, 3, 6, 7))
    for order in (0, 1):
        # Coarse numbers, so that some are equal.
        case(f"maxpool_indices_order{order}", 12,
             f"y, y_i = MaxPool<kernel_shape=[2, 3], dilations=[2, 1], ceil_mode=1, storage_order={order}>(x)",
             x=lambda r: np.round(r.standard_normal((2, 3, 5, 6))).astype(np.float32))
        case(f"maxpool_indices_1d_order{order}", 12, f"y, y_i = MaxPool<kernel_shape=[3], storage_order={order}>(x)",
             x=(2, 3, 8))
        case(f"maxpool_indices_3d_order{order}", 12,
             f"y, y_i = MaxPool<kernel_shape=[2, 2, 3], strides=[2, 1, 2], storage_order={order}>(x)", x=(2, 2, 4, 3, 5))
    case("maxpool_indices_alone", 12, "t, y_i = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)", x=(2, 3, 4, 6))
    # As PyTorch exports indices within each plane.
    case("maxpool_indices_pytorch", 12, """
        y, i = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)
        t, f = MaxPool<kernel_shape=[1, 1], strides=[1, 1]>(x)
        s = Slice(f, starts, ends, axes)
        y_i = Sub(i, s)""", x=(2, 3, 4, 6), starts=np.array([0, 0], np.int64), ends=np.array([1, 1], np.int64),
         axes=np.array([2, 3], np.int64))
    pool = "p, i = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)\n"
    each("maxunpool", (9, 11, 22), pool + "y = MaxUnpool<kernel_shape=[2, 2], strides=[2, 2]>(p, i)", x=(2, 3, 4, 6))
    case("maxunpool_output_shape", 11, pool + "s = Shape(x)\ny = MaxUnpool<kernel_shape=[2, 2], strides=[2, 2]>(p, i, s)",
         x=(2, 3, 5, 7))
    case("maxunpool_overlap", 11, """
        p, i = MaxPool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0]>(x)
        c = Conv<group=3>(p, w)
        y = MaxUnpool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0]>(c, i)""", x=(2, 3, 6, 8), w=(3, 1, 1, 1))
    # As PyTorch exports an unpooling of its own: a scatter within each plane.
    case("maxunpool_by_scatter", 18, """
        p, i = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)
        t, f = MaxPool<kernel_shape=[1, 1], strides=[1, 1]>(x)
        s = Slice(f, starts, ends, axes)
        j = Sub(i, s)
        pf = Reshape(p, flat)
        jf = Reshape(j, flat)
        y = ScatterElements<axis=2>(zeros, jf, pf)""", fixed=True, x=(2, 3, 4, 6), starts=np.array([0, 0], np.int64),
         ends=np.array([1, 1], np.int64), axes=np.array([2, 3], np.int64), flat=np.array([0, 0, -1], np.int64),
         zeros=np.zeros((2, 3, 24), np.float32))
    # As PyTorch's newer exporter writes an unpooling: a scatter into the flat output.
    case("maxunpool_by_scatternd", 18, """
        p, i = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)
        pf = Reshape(p, flat)
        jf = Reshape(i, column)
        z = ScatterND(zeros, jf, pf)
        y = Reshape(z, whole)""", fixed=True, x=(2, 3, 4, 6), flat=np.array([-1], np.int64),
         column=np.array([-1, 1], np.int64), whole=np.array([2, 3, 4, 6], np.int64), zeros=np.zeros(144, np.float32))
    case("scatternd_computed", 18, "y = ScatterND(x, x_i, x_u)", fixed=True, x=(5, 3, 2),
         x_i=np.array([[[3]], [[-5]]], np.int64), x_u=(2, 1, 3, 2))
    case("scatterelements_computed", 18, "y = ScatterElements<axis=1>(x, x_i, x_u)", fixed=True, x=(2, 5, 3),
         x_i=np.array([[[0, -1, 2], [3, 1, -4]], [[4, 0, 1], [-2, 2, 3]]], np.int64), x_u=(2, 2, 3))
    case("maxunpool_1d", 11, "p, i = MaxPool<kernel_shape=[2], strides=[2]>(x)\n"
         "y = MaxUnpool<kernel_shape=[2], strides=[2]>(p, i)", x=(2, 3, 6))
    case("maxunpool_3d", 11, "p, i = MaxPool<kernel_shape=[2, 2, 2], strides=[2, 2, 2]>(x)\n"
         "y = MaxUnpool<kernel_shape=[2, 2, 2], strides=[2, 2, 2]>(p, i)", x=(2, 2, 2, 4, 6))
