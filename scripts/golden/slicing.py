"""Concat, Split, Slice, Pad."""

import numpy as np

from .common import case, each, ints, scalar


def joins():
    """Concat, and Split in the three forms of its history."""
    image = (2, 4, 3, 5)
    each("concat_axis1", (7, 11, 13), "y = Concat<axis=1>(x_a, x_b)", x_a=(2, 3, 4, 2), x_b=(2, 2, 4, 2))
    case("concat_last", 11, "y = Concat<axis=-1>(x_a, x_b, x_a)", x_a=(2, 3, 2), x_b=(2, 3, 4))
    case("concat_axis2", 7, "y = Concat<axis=2>(x_a, x_b)", x_a=(2, 3, 4, 2), x_b=(2, 3, 1, 2))
    case("concat_axis0", 13, "y = Concat<axis=0>(x_a, x_b)", fixed=True, x_a=(2, 3), x_b=(1, 3))
    case("concat_constant", 13, "y = Concat<axis=1>(c, x, c)", fixed=True, x=(2, 3, 2), c=(2, 1, 2))
    case("concat_one", 13, "y = Concat<axis=1>(x)", x=(2, 3, 2))
    case("split_equal", 7, "y_a, y_b = Split<axis=1>(x)", x=image)
    case("split_default_axis", 11, "y_a, y_b = Split(x)", fixed=True, x=(4, 3))
    each("split_attr_unequal", (7, 11), "y_a, y_b, y_c = Split<axis=1, split=[1, 2, 1]>(x)", x=image)
    case("split_attr_negative_axis", 12, "y_a, y_b = Split<axis=-1, split=[4, 1]>(x)", x=image)
    each("split_input", (13, 18), "y_a, y_b = Split<axis=1>(x, s)", x=image, s=ints(3, 1))
    case("split_input_absent", 13, "y_a, y_b = Split<axis=-3>(x)", x=image)
    case("split_num_outputs", 18, "y_a, y_b = Split<axis=1, num_outputs=2>(x)", x=image)
    case("split_num_outputs_uneven", 18, "y_a, y_b, y_c = Split<axis=-1, num_outputs=3>(x)", x=image)
    case("split_one_unused", 13, "a, b = Split<axis=1>(x, s)\ny = Relu(b)", x=image, s=ints(1, 3))


def slices():
    """Slice and Pad, by attributes and by inputs."""
    image = (2, 4, 3, 5)
    each("slice_attr", (7, 9), "y = Slice<axes=[1, 3], starts=[1, 0], ends=[3, 4]>(x)", x=image)
    case("slice_attr_negative", 9, "y = Slice<axes=[3, 1], starts=[-4, -3], ends=[-1, 9223372036854775807]>(x)",
         x=image)
    case("slice_attr_no_axes", 7, "y = Slice<starts=[0, 1, 0], ends=[2, 100, 2]>(x)", fixed=True, x=image)
    each("slice_input", (10, 11, 13), "y = Slice(x, s, e, a)", x=image, s=ints(1, 0), e=ints(3, 4), a=ints(1, 3))
    case("slice_steps", 10, "y = Slice(x, s, e, a, t)",
         x=(2, 4, 6, 7), s=ints(0, 1), e=ints(2**63 - 1, 2**63 - 1), a=ints(2, 3), t=ints(2, 3))
    case("slice_reverse", 13, "y = Slice(x, s, e, a, t)",
         x=image, s=ints(-1, 4), e=ints(-(2**63), 0), a=ints(1, -1), t=ints(-1, -2))
    case("slice_negative_axis", 11, "y = Slice(x, s, e, a)", x=image, s=ints(-3), e=ints(-1), a=ints(-3))
    case("slice_no_axes", 13, "y = Slice(x, s, e)", fixed=True, x=image, s=ints(0, -2), e=ints(2**63 - 1, 2**63 - 1))
    case("slice_int32_indices", 13, "y = Slice(x, s, e, a)",
         x=image, s=np.array([1], np.int32), e=np.array([3], np.int32), a=np.array([1], np.int32))
    case("slice_out_of_range_clamps", 13, "y = Slice(x, s, e, a)", x=image, s=ints(-100), e=ints(100), a=ints(2))
    case("pad_attr_constant", 7, "y = Pad<pads=[0, 1, 2, 0, 0, 3, 0, 1], value=-1.5>(x)", x=image)
    case("pad_attr_reflect", 7, 'y = Pad<mode="reflect", pads=[0, 0, 2, 1, 0, 0, 1, 3]>(x)', x=image)
    case("pad_attr_edge", 10, 'y = Pad<mode="edge", pads=[0, 1, 2, 1, 0, 0, 1, 3]>(x)', x=image)
    case("pad_attr_crop", 7, "y = Pad<pads=[0, -1, 0, 1, 0, 0, -1, -2]>(x)", x=image)
    each("pad_input", (11, 13, 18), "y = Pad(x, p, v)", x=image, p=ints(0, 1, 0, 2, 0, 2, 1, 0), v=scalar(0.5))
    case("pad_input_no_value", 13, "y = Pad(x, p)", x=image, p=ints(0, 2, 0, 0, 0, 2, 0, 0))
    for mode in ("reflect", "edge"):
        case(f"pad_{mode}", 13, f'y = Pad<mode="{mode}">(x, p)', x=image, p=ints(0, 0, 1, 2, 0, 0, 2, 3))
        case(f"pad_{mode}_channels", 13, f'y = Pad<mode="{mode}">(x, p)', x=image, p=ints(0, 2, 0, 0, 0, 1, 0, 0))
    case("pad_axes", 18, "y = Pad(x, p, v, a)", x=image, p=ints(1, 0, 0, 2), v=scalar(-2.0), a=ints(1, -1))
    case("pad_axes_no_value", 21, "y = Pad(x, p, , a)", x=image, p=ints(1, 2), a=ints(2))
    case("pad_wrap", 19, 'y = Pad<mode="wrap">(x, p)', x=image, p=ints(0, 0, 1, 2, 0, 0, 2, 0))
    case("pad_crop", 13, "y = Pad(x, p)", x=image, p=ints(0, -1, 0, -2, 0, -1, 1, 0))
