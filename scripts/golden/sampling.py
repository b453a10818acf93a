"""GridSample, AffineGrid, RoiAlign and DeformConv: images read at computed positions."""

import numpy as np

from .common import case, each, ints


def grid(*shape, reach=1.6):
    """Positions up to `reach` times the image's borders away from its centre."""
    return lambda rng: rng.uniform(-reach, reach, shape).astype(np.float32)


def regions(count, size):
    """Regions within and across the borders of an image of `size` pixels: left, top, right, bottom."""
    def make(rng):
        low, extent = rng.uniform(-0.3, 0.7, (count, 2)), rng.uniform(0.2, 0.8, (count, 2))
        return (np.concatenate([low, low + extent], 1) * size).astype(np.float32)
    return make


def sampling():
    """GridSample in all modes, and AffineGrid before it."""
    for padding in ("zeros", "border", "reflection"):
        for align in (0, 1):
            rest = f'padding_mode="{padding}", align_corners={align}'
            for mode in ("linear", "nearest", "cubic"):
                case(f"gridsample_{mode}_{padding}_align{align}", 20, f'y = GridSample<mode="{mode}", {rest}>(x, xg)',
                     x=(2, 3, 4, 5), xg=grid(2, 6, 3, 2))
            for mode in ("linear", "nearest"):
                case(f"gridsample_3d_{mode}_{padding}_align{align}", 20,
                     f'y = GridSample<mode="{mode}", {rest}>(x, xg)', x=(2, 2, 3, 4, 2), xg=grid(2, 2, 3, 2, 3))
    for mode in ("bilinear", "nearest", "bicubic"):
        case(f"gridsample_{mode}", 16, f'y = GridSample<mode="{mode}">(x, xg)', x=(2, 3, 4, 5), xg=grid(2, 6, 3, 2))
    case("gridsample_defaults", 22, "y = GridSample(x, xg)", x=(2, 2, 3, 4), xg=grid(2, 2, 3, 2))
    case("gridsample_constant_grid", 16, "y = GridSample(x, g)", fixed=True, x=(1, 2, 3, 4), g=grid(1, 2, 3, 2))
    for align in (0, 1):
        case(f"affinegrid_2d_align{align}", 20, f"y = AffineGrid<align_corners={align}>(x, s)", fixed=True,
             x=(2, 2, 3), s=ints(2, 3, 4, 5))
        case(f"affinegrid_3d_align{align}", 20, f"y = AffineGrid<align_corners={align}>(x, s)", fixed=True,
             x=(2, 3, 4), s=ints(2, 1, 2, 3, 4))
    # A spatial transformer: the network computes the map, and samples its input by it.
    case("spatial_transformer", 20, """
        f = Conv<strides=[2, 2]>(x, w, b)
        p = GlobalAveragePool(f)
        v = Flatten(p)
        m = Gemm<transB=1>(v, wm, bm)
        t = Reshape(m, of)
        sh = Shape(x)
        g = AffineGrid(t, sh)
        y = GridSample(x, g)""",
         x=(2, 3, 7, 6), w=(4, 3, 3, 3), b=(4,), wm=(6, 4), bm=(6,), of=ints(-1, 2, 3))


def regional():
    """RoiAlign, and what detectors put behind it."""
    images = np.array([0, 1, 1, 0, 1], np.int64)
    for mode in ("avg", "max"):
        for ratio in (0, 2):
            each(f"roialign_{mode}_ratio{ratio}", (10, 16, 22),
                 f'y = RoiAlign<mode="{mode}", output_height=3, output_width=2, sampling_ratio={ratio}, '
                 "spatial_scale=0.5>(x, xr, i)", fixed=True, x=(2, 3, 7, 8), xr=regions(5, 16), i=images)
    for form in ("half_pixel", "output_half_pixel"):
        case(f"roialign_{form}", 16,
             f'y = RoiAlign<coordinate_transformation_mode="{form}", output_height=2, output_width=2>(x, xr, i)',
             fixed=True, x=(2, 3, 7, 8), xr=regions(5, 8), i=images)
    case("roialign_defaults", 16, "y = RoiAlign(x, r, i)", fixed=True, x=(2, 2, 5, 4), r=regions(5, 4), i=images)
    # A two-stage detector: the best boxes of the first stage are the second's regions.
    case("detector_two_stages", 16, """
        t = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(x, w1, b1)
        f = Relu(t)
        o = Conv(f, wo, bo)
        of = Reshape(o, row)
        sc = Sigmoid(of)
        d = Conv(f, wd, bd)
        df = Reshape(d, four)
        dr = Relu(df)
        boxes = Transpose<perm=[0, 2, 1]>(dr)
        k = NonMaxSuppression(boxes, sc, m, iou)
        k2 = Gather<axis=1>(k, two)
        b0 = Squeeze(boxes, zero)
        r = Gather(b0, k2)
        k0 = Gather<axis=1>(k, first)
        a = RoiAlign<output_height=2, output_width=2>(f, r, k0)
        af = Flatten(a)
        y_class = Gemm<transB=1>(af, wc, bc)""",
         fixed=True, x=(1, 3, 10, 10), w1=(6, 3, 3, 3), b1=(6,), wo=(1, 6, 1, 1), bo=(1,), wd=(4, 6, 1, 1), bd=(4,),
         four=ints(1, 4, -1), row=ints(1, 1, -1), m=ints(5), iou=np.array([0.6], np.float32), two=np.array(2, np.int64),
         zero=ints(0), first=np.array(0, np.int64), wc=(3, 24), bc=(3,))


def deformable():
    """DeformConv with masks, groups and offset groups."""
    each("deformconv_plain", (19, 22), "y = DeformConv<pads=[1, 1, 1, 1]>(x, w, xo)",
         x=(2, 3, 5, 6), w=(4, 3, 3, 3), xo=grid(2, 18, 5, 6, reach=2.5))
    case("deformconv_bias_mask", 19, "y = DeformConv<strides=[2, 1], dilations=[1, 2]>(x, w, xo, b, xm)",
         x=(2, 3, 7, 6), w=(4, 3, 3, 2), xo=grid(2, 12, 3, 4, reach=2.5), b=(4,), xm=(2, 6, 3, 4))
    case("deformconv_groups", 19, 'y = DeformConv<group=2, offset_group=2, pads=[0, 1, 1, 0]>(x, w, xo, "", xm)',
         x=(2, 4, 5, 5), w=(6, 2, 2, 2), xo=grid(2, 16, 5, 5, reach=2.5), xm=(2, 8, 5, 5))
    case("deformconv_depthwise_batchnorm", 19, """
        t = DeformConv<group=4, offset_group=2, pads=[1, 1, 1, 1]>(x, w, xo)
        n = BatchNormalization(t, s, c, m, v)
        y = Relu(n)""",
         x=(2, 4, 4, 5), w=(4, 1, 3, 3), xo=grid(2, 36, 4, 5), s=(4,), c=(4,), m=(4,),
         v=lambda rng: rng.uniform(0.5, 2.0, 4).astype(np.float32))
