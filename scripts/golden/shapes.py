"""Shape arithmetic and constants."""

import numpy as np

from .common import case, each, ints, positive, scalar


def shapes():
    """Shape arithmetic as exporters write it."""
    image = (2, 4, 3, 5)
    each("shape_gather_unsqueeze_concat_reshape", (9, 11), """
        s = Shape(x)
        n = Gather<axis=0>(s, zero)
        u = Unsqueeze<axes=[0]>(n)
        c = Concat<axis=0>(u, rest)
        y = Reshape(x, c)""", x=image, zero=scalar(0, np.int64), rest=ints(-1))
    each("shape_gather_unsqueeze_concat_reshape", (13, 17), """
        s = Shape(x)
        zero = Constant<value=int64 {0}>()
        n = Gather<axis=0>(s, zero)
        axes = Constant<value=int64[1] {0}>()
        u = Unsqueeze(n, axes)
        minus = Constant<value_ints=[-1]>()
        c = Concat<axis=0>(u, minus)
        y = Reshape(x, c)""", x=image)
    case("shape_slice_concat_reshape", 13, """
        s = Shape(x)
        two = Slice(s, b, e)
        c = Concat<axis=0>(two, minus)
        y = Reshape(x, c)""", x=image, b=ints(0), e=ints(2), minus=ints(-1))
    case("shape_cast_mul_cast_slice", 13, """
        s = Shape(x)
        c = Gather<axis=0>(s, one)
        f = Cast<to=1>(c)
        h = Mul(f, half)
        r = Floor(h)
        i = Cast<to=7>(r)
        axes = Constant<value_ints=[0]>()
        e = Unsqueeze(i, axes)
        y = Slice(x, zero, e, ax)""", x=image, one=scalar(1, np.int64), half=scalar(0.5), zero=ints(0), ax=ints(1))
    case("shape_div_chunk", 11, """
        s = Shape(x)
        c = Gather<axis=0>(s, one)
        t = Add(c, one)
        h = Div(t, two)
        m1 = Mul(h, one)
        m2 = Mul(h, two)
        u0 = Unsqueeze<axes=[0]>(m1)
        u1 = Unsqueeze<axes=[0]>(m2)
        y_a = Slice(x, zero, u0, ax)
        y_b = Slice(x, u0, u1, ax)""", x=image, one=scalar(1, np.int64), two=scalar(2, np.int64), zero=ints(0),
         ax=ints(1))
    case("shape_div_negative_floor", 13, """
        s = Shape(x)
        c = Gather<axis=0>(s, i)
        n = Sub(zero, c)
        d = Div(n, two)
        f = Cast<to=1>(d)
        y = Add(x, f)""", x=image, i=ints(3), zero=ints(0), two=ints(2))
    case("constantofshape_mul_equal_where_expand", 17, """
        ones = ConstantOfShape<value=int64[1] {1}>(rank)
        m = Mul(ones, minus)
        q = Equal(want, m)
        s = Where(q, ones, want)
        y = Expand(x, s)""", x=(2, 3, 1, 1), rank=ints(4), minus=scalar(-1, np.int64), want=ints(-1, 3, 4, 5))
    case("constantofshape_default_pads", 13, """
        z = ConstantOfShape(n)
        zi = Cast<to=7>(z)
        p = Concat<axis=0>(zi, tail)
        y = Pad(x, p)""", x=image, n=ints(5), tail=ints(1, 0, 2))
    case("constantofshape_as_data", 9, """
        s = Shape(x)
        c = ConstantOfShape<value=float[1] {0.5}>(s)
        y = Sub(x, c)""", x=image)
    case("shape_start_end", 15, "s = Shape<start=1, end=-1>(x)\nc = Concat<axis=0>(minus, s, last)\ny = Reshape(x, c)",
         x=image, minus=ints(-1), last=ints(5))
    case("shape_start_negative", 19, "s = Shape<start=-2>(x)\nc = Concat<axis=0>(head, s)\ny = Reshape(x, c)",
         x=image, head=ints(0, 4))
    case("range_gather", 11, "r = Range(a, b, d)\ny = Gather<axis=1>(x, r)",
         x=image, a=scalar(3, np.int64), b=scalar(-1, np.int64), d=scalar(-2, np.int64))
    case("range_cast_mul", 13, "r = Range(a, b, d)\nf = Cast<to=1>(r)\ny = Mul(x, f)",
         x=image, a=scalar(0, np.int64), b=scalar(5, np.int64), d=scalar(1, np.int64))
    case("range_float", 13, "r = Range(a, b, d)\ny = Add(x, r)", x=image, a=scalar(0.5), b=scalar(3.0), d=scalar(0.5))
    case("size_mean", 13, "s = Size(c)\nf = Cast<to=1>(s)\ny = Div(x, f)", x=image, c=(2, 3))
    case("pads_from_transposed_reshape", 13, """
        r = Reshape(flat, two)
        t = Slice(r, start, end, zero, step)
        u = Transpose(t)
        p = Reshape(u, minus)
        y = Pad(x, p)""", x=image, flat=ints(0, 0, 1, 2, 0, 0, 0, 0), two=ints(4, 2), start=ints(-1),
         end=ints(-(2**63)), zero=ints(0), step=ints(-1), minus=ints(-1), fixed=True)
    case("flatten_by_shape_gemm", 13, """
        p = GlobalAveragePool(x)
        s = Shape(p)
        n = Slice(s, zero, one)
        c = Concat<axis=0>(n, minus)
        f = Reshape(p, c)
        y = Gemm<transB=1>(f, w, b)""", x=image, zero=ints(0), one=ints(1), minus=ints(-1), w=(3, 4), b=(3,))


def constants():
    """Constants in all their forms."""
    image = (2, 4, 3, 5)
    case("constant_value_float", 13, "c = Constant<value_float=1.5>()\ny = Mul(x, c)", x=image)
    case("constant_value_floats", 12, "c = Constant<value_floats=[1.0, -2.0, 0.5, 3.0, 0.25]>()\ny = Mul(x, c)",
         x=image)
    case("constant_value_int", 12, "c = Constant<value_int=1>()\ny = Gather<axis=1>(x, c)", x=image)
    case("constant_value_ints", 13, "c = Constant<value_ints=[0, 12, 5]>()\ny = Reshape(x, c)", x=image)
    case("constant_value_tensor", 7, "c = Constant<value=float[4,1,1] {1.0, 2.0, -3.0, 0.0}>()\ny = Add(x, c)", x=image)
    case("constant_chain", 11, "a = Mul(c, d)\nb = Add(a, c)\ne = Sqrt(b)\ny = Mul(x, e)",
         x=image, c=positive(4, 1, 1), d=positive(1))
