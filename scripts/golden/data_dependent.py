"""Operators with data-dependent output shapes."""

import numpy as np

from .common import case, each, floats, ints, scalar


def boxes(batch, count, centers=False):
    """Overlapping boxes: corners in any order, or centres and sizes."""
    def make(rng):
        middle = rng.uniform(0, 4, (batch, count, 2))
        size = rng.uniform(0.5, 2.5, (batch, count, 2)) * (1 if centers else rng.choice([-1, 1], (batch, count, 2)))
        pair = (middle, size) if centers else (middle - size / 2, middle + size / 2)
        return np.concatenate(pair, axis=2).astype(np.float32)
    return make


def scores(*shape):
    """Scores in 0 .. 1, many of them equal."""
    return lambda rng: (rng.integers(0, 12, shape) / 12).astype(np.float32)


def data_dependent():
    """NonMaxSuppression, NonZero, Compress, Unique."""
    limits = dict(m=ints(4), o=floats(0.4), t=floats(0.2))
    two = dict(x_b=boxes(2, 9), x_s=scores(2, 3, 9))
    for opset in (10, 11, 24):
        case("nms", opset, "y = NonMaxSuppression(x_b, x_s, m, o, t)", fixed=True, **two, **limits)
    case("nms_centers", 11, "y = NonMaxSuppression<center_point_box=1>(x_b, x_s, m, o, t)", fixed=True,
         x_b=boxes(2, 9, True), x_s=scores(2, 3, 9), **limits)
    case("nms_no_limits", 11, "y = NonMaxSuppression(x_b, x_s)", fixed=True, **two)
    case("nms_no_thresholds", 11, "y = NonMaxSuppression(x_b, x_s, m)", fixed=True, m=scalar(20, np.int64), **two)
    case("nms_no_overlap_threshold", 11, "y = NonMaxSuppression(x_b, x_s, m, , t)", fixed=True,
         m=ints(20), t=floats(0.5), **two)
    case("nms_negative_scores", 11, "y = NonMaxSuppression(x_b, x_s, m, o)", fixed=True,
         x_b=boxes(1, 9), x_s=(1, 2, 9), m=ints(20), o=floats(0.0))
    flat = np.array([[[0, 0, 0, 3], [0, 0, 2, 2], [0, 0, 0, 3], [0, 0, 2, 1], [2, 2, 4, 4]]], np.float32)
    case("nms_flat_boxes", 11, "y = NonMaxSuppression(x_b, x_s, m, o)", fixed=True,
         x_b=flat, x_s=scores(1, 1, 5), m=ints(9), o=floats(0.5))
    case("nms_constant", 11, "k = NonMaxSuppression(b, s, m, o, t)\nf = Cast<to=1>(k)\ny = Add(x, f)", fixed=True,
         x=(1, 3), b=boxes(2, 9), s=scores(2, 3, 9), **limits)
    x = lambda *shape: lambda rng: np.round(rng.uniform(-1.4, 1.4, shape)).astype(np.float32)
    each("nonzero", (9, 13), "y = NonZero(x)", fixed=True, x=x(3, 4, 2))
    case("nonzero_mask", 13, "c = Greater(x, z)\ny = NonZero(c)", fixed=True, x=(2, 5), z=scalar(0.3))
    case("nonzero_gathernd", 13, "c = Greater(x, z)\nn = NonZero(c)\ni = Transpose(n)\ny = GatherND(x, i)", fixed=True,
         x=(2, 5), z=scalar(0.3))
    case("nonzero_as_torch_writes_arange", 11, """
        sh = Shape(x)
        one = ConstantOfShape<value=int64[1] {1}>(sh)
        n = NonZero(one)
        t = Transpose(n)
        f = Cast<to=1>(t)
        c = Gather<axis=1>(f, zero)
        s = Reshape(c, sh)
        y = Add(x, s)""", fixed=True, x=(2, 5), zero=ints(0))
    for opset in (9, 11):
        case("compress", opset, "c = Greater(x_c, z)\ny = Compress<axis=1>(x, c)", fixed=True,
             x=(2, 5, 3), x_c=(5,), z=scalar(0.0))
    case("compress_flat", 11, "c = Greater(x_c, z)\ny = Compress(x, c)", fixed=True, x=(2, 5), x_c=(7,), z=scalar(0.0))
    yes = np.array([True, False, False, True], bool)
    case("compress_constant", 11, "y = Compress<axis=-2>(x, c)", x=(2, 5, 3), c=yes)
    case("compress_constant_flat", 11, "y = Compress(x, c)", fixed=True, x=(2, 5, 3), c=yes)
    case("compress_channels", 11, "t = Conv(x, w)\nr = Relu(t)\np = Compress<axis=1>(r, c)\ny = Conv(p, v)",
         x=(2, 3, 4, 4), w=(4, 3, 3, 3), c=yes, v=(2, 2, 1, 1))
    every = ", yi, yn, yc"
    case("unique", 11, f"y{every} = Unique(x)", fixed=True, x=x(3, 5))
    case("unique_unsorted", 11, f"y{every} = Unique<sorted=0>(x)", fixed=True, x=x(3, 5))
    case("unique_rows", 11, f"y{every} = Unique<axis=0>(x)", fixed=True, x=x(12, 2))
    case("unique_columns_unsorted", 11, f"y{every} = Unique<axis=-1, sorted=0>(x)", fixed=True, x=x(2, 1, 14))
    case("unique_values", 11, "u = Unique(x)\ny = Mul(u, u)", fixed=True, x=x(9))


def empty():
    """Operators on the empty result of a NonMaxSuppression."""
    case("nothing_found", 13, """
        k = NonMaxSuppression(x_b, x_s, m, o, t)
        i = Gather<axis=1>(k, last)
        b = Squeeze(x_b, zero)
        g = Gather(b, i)
        y_mul = Mul(g, four)
        y_matmul = MatMul(g, w)
        y_gemm = Gemm(g, w, v)
        y_softmax = Softmax(g)
        y_transposed = Transpose(g)
        y_sum = ReduceSum<keepdims=0>(g, zero)
        y_rows = Concat<axis=0>(g, b)
        y_columns = Concat<axis=1>(g, g)
        y_slice = Slice(g, zero, two, one)
        y_left, y_right = Split<axis=1>(g)
        y_reshaped = Reshape(g, back)
        y_flat = Flatten(g)
        c = Less(g, four)
        y_where = Where(c, g, g)
        y_clip = Clip(g, least)
        y_sigmoid = Sigmoid(g)
        y_expand = Expand(g, wide)
        y_tile = Tile(g, many)
        y_pad = Pad(g, border)
        places = Unsqueeze(i, one)
        y_scatter = ScatterND(b, places, g)
        y_cumsum = CumSum(g, axis)
        y_size = Size(g)
        y_arg = ArgMax<axis=1>(g)
        y_top, y_at = TopK<axis=1>(g, two)
        y_nonzero = NonZero(g)
        y_unique = Unique(g)
        y_round = Round(g)
        y_pow = Pow(g, two)""",
         fixed=True, x_b=boxes(1, 6), x_s=scores(1, 2, 6), m=ints(4), o=floats(0.4), t=floats(2.0),
         last=scalar(2, np.int64), zero=ints(0), one=ints(1), two=ints(2), four=floats(4.0), w=(4, 3), v=(3,),
         back=ints(-1, 2), least=scalar(0.0), wide=ints(3, 1, 4), many=ints(2, 2), border=ints(0, 1, 1, 0),
         axis=scalar(0, np.int64))
