"""Normalizations by stored statistics, by neighbours, along an axis, and by computed statistics."""

import numpy as np

from .common import LATEST, case, each, ints, positive, scalar


def normalizations():
    """BatchNormalization, LRN, Softmax, LogSoftmax."""
    bn = dict(s=(3,), b=(3,), m=(3,), v=positive(3))
    each("batchnorm", (7, 9, 14, 15), "y = BatchNormalization(x, s, b, m, v)", x=(2, 3, 4, 5), **bn)
    each("batchnorm_epsilon", (9, 15), "y = BatchNormalization<epsilon=0.3, momentum=0.5>(x, s, b, m, v)",
         x=(2, 3, 4, 5), **bn)
    case("batchnorm_spatial", 7, "y = BatchNormalization<spatial=1, epsilon=0.001>(x, s, b, m, v)",
         x=(2, 3, 4, 5), **bn)
    case("batchnorm_2d", 15, "y = BatchNormalization(x, s, b, m, v)", x=(2, 3), **bn)
    case("batchnorm_3d", 9, "y = BatchNormalization(x, s, b, m, v)", x=(2, 3, 7), **bn)
    case("conv_batchnorm_relu", 15,
         "t = Conv<pads=[1, 1, 1, 1]>(x, w, c)\nn = BatchNormalization(t, s, b, m, v)\ny = Relu(n)",
         x=(2, 2, 4, 5), w=(3, 2, 3, 3), c=(3,), **bn)
    each("lrn_size3", (7, 13), "y = LRN<size=3, alpha=0.05, beta=0.5, bias=2.0>(x)", x=(2, 5, 3, 4))
    case("lrn_defaults_size5", 13, "y = LRN<size=5>(x)", x=(2, 7, 3, 3))
    case("lrn_wider_than_channels", 13, "y = LRN<size=7, alpha=1.0>(x)", x=(2, 3, 3, 3))
    case("lrn_size1", 13, "y = LRN<size=1, alpha=0.5>(x)", x=(2, 3, 3, 3))

    def lrn_even(x):
        """The standard's formula: ONNX Runtime refuses even sizes, and onnx.reference computes LRN incorrectly."""
        def window(c):
            return slice(max(0, c - 1), min(x.shape[1], c + 3))  # floor((4 - 1) / 2), ceil((4 - 1) / 2)
        sums = [np.square(x[:, window(c)], dtype=np.float64).sum(1) for c in range(x.shape[1])]
        return [x / (1 + 0.5 / 4 * np.stack(sums, 1)) ** 0.75]

    case("lrn_even", 13, "y = LRN<size=4, alpha=0.5>(x)", formula=lrn_even, x=(2, 6, 3, 3))
    for op in ("Softmax", "LogSoftmax"):
        low = op.lower()
        # Up to opset 12, all axes from the given one on form one row.
        each(f"{low}_default_4d", (7, 11, 12), f"y = {op}(x)", x=(2, 3, 2, 4))
        case(f"{low}_axis2_4d", 11, f"y = {op}<axis=2>(x)", x=(2, 3, 2, 4))
        case(f"{low}_negative_axis_4d", 12, f"y = {op}<axis=-2>(x)", x=(2, 3, 2, 4))
        each(f"{low}_default_4d", (13, LATEST), f"y = {op}(x)", x=(2, 3, 2, 4))
        case(f"{low}_axis1_4d", 13, f"y = {op}<axis=1>(x)", x=(2, 3, 2, 4))
        case(f"{low}_2d", 7, f"y = {op}<axis=1>(x)", x=(2, 6))
        case(f"{low}_large_values", 13, f"y = {op}<axis=-1>(x)", fixed=True,
             x=np.array([[1000, 999, -1000], [-2000, -2001, -2000.5]], np.float32))
    each("hardmax_default_4d", (11, 13), "y = Hardmax(x)", x=(2, 3, 2, 4))
    case("hardmax_axis1", 13, "y = Hardmax<axis=1>(x)", x=(2, 5, 3))
    case("hardmax_equal", 13, "y = Hardmax(x)", fixed=True, x=np.array([[1, 3, 3, -1], [0, 0, 0, 0]], np.float32))


def computed_normalizations():
    """Normalizations by statistics of the input."""
    case("instancenorm", 17, "y = InstanceNormalization<epsilon=0.01>(x, s, b)", x=(2, 3, 4, 5), s=(3,), b=(3,))
    case("instancenorm_1d", 6 + 1, "y = InstanceNormalization(x, s, b)", x=(2, 3, 9), s=(3,), b=(3,))
    case("groupnorm", 21, "y = GroupNormalization<num_groups=2, epsilon=0.01>(x, s, b)", x=(2, 4, 3, 5), s=(4,), b=(4,))
    case("groupnorm_as_torch_writes_it", 17, """
        r = Reshape(x, shape)
        n = InstanceNormalization(r, one, zero)
        sh = Shape(x)
        back = Reshape(n, sh)
        m = Mul(back, s)
        y = Add(m, b)""", x=(2, 4, 3, 5), shape=ints(0, 2, -1), one=np.ones(2, np.float32),
         zero=np.zeros(2, np.float32), s=(4, 1, 1), b=(4, 1, 1))
    case("layernorm", 17, "y = LayerNormalization(x, s, b)", x=(2, 3, 7), s=(7,), b=(7,))
    case("layernorm_no_bias_axis1", 17, "y = LayerNormalization<axis=1, epsilon=0.1>(x, s)",
         x=(2, 3, 4, 5), s=(3, 4, 5))
    case("layernorm_composed", 13, """
        m = ReduceMean<axes=[-1]>(x)
        d = Sub(x, m)
        p = Pow(d, two)
        v = ReduceMean<axes=[-1]>(p)
        e = Add(v, eps)
        q = Sqrt(e)
        n = Div(d, q)
        y = Mul(n, s)""", x=(2, 3, 7), two=scalar(2.0), eps=scalar(1e-5), s=(7,))
    case("rmsnorm", 23, "y = RMSNormalization(x, s)", x=(2, 3, 7), s=(7,))
    case("meanvariance", 13, "y = MeanVarianceNormalization(x)", x=(2, 3, 4, 5))
    case("meanvariance_axes", 9, "y = MeanVarianceNormalization<axes=[2, 3]>(x)", x=(2, 3, 4, 5))
    case("lpnorm_l2", 7, "y = LpNormalization<axis=1>(x)", x=(2, 3, 4, 5))
    case("lpnorm_l1", 22, "y = LpNormalization<p=1>(x)", x=(2, 3, 4))
