"""Resize and Upsample."""

from .common import case, floats, ints


def resizes():
    """Resize and Upsample: every coordinate transformation, rounding mode and form."""
    up = dict(x=(2, 2, 3, 4))
    case("upsample_linear", 9, 'y = Upsample<mode="linear">(x, s)', s=floats(1, 1, 2, 3), **up)
    case("upsample_attribute", 7, 'y = Upsample<mode="nearest", scales=[1.0, 1.0, 2.0, 2.0]>(x)', **up)
    case("resize10_nearest", 10, 'y = Resize<mode="nearest">(x, s)', s=floats(1, 1, 2, 3), **up)
    case("resize10_linear_down", 10, 'y = Resize<mode="linear">(x, s)', s=floats(1, 1, 0.67, 0.5), **up)
    for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        for mode in ("nearest", "linear", "cubic"):
            case(f"resize_{mode}_{coordinates}_up", 13,
                 f'y = Resize<mode="{mode}", coordinate_transformation_mode="{coordinates}">(x, , s)',
                 s=floats(1, 1, 2, 3), **up)
            case(f"resize_{mode}_{coordinates}_sizes", 19,
                 f'y = Resize<mode="{mode}", coordinate_transformation_mode="{coordinates}", axes=[2, 3]>(x, , , z)',
                 z=ints(5, 3), **up)
    case("resize_cubic_half_pixel_exclude", 13,
         'y = Resize<mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5>(x, , s)', s=floats(1, 1, 1.5, 2), **up)
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        case(f"resize_nearest_{rounding}", 13, f'y = Resize<mode="nearest", nearest_mode="{rounding}">(x, , s)',
             s=floats(1, 1, 1.5, 2.5), **up)
        case(f"resize_nearest_{rounding}_asymmetric", 11,
             f'y = Resize<mode="nearest", nearest_mode="{rounding}", '
             'coordinate_transformation_mode="asymmetric">(x, roi, s)', roi=floats(), s=floats(1, 1, 2, 0.5), **up)
    case("resize_sizes_from_shape", 13, """
        sh = Shape(x_like)
        hw = Slice(sh, two, four, zero)
        nc = Shape(x)
        head = Slice(nc, zero, two, zero)
        z = Concat<axis=0>(head, hw)
        y = Resize<mode="linear", coordinate_transformation_mode="pytorch_half_pixel">(x, , , z)""",
         x=(2, 3, 3, 4), x_like=(2, 1, 5, 7), zero=ints(0), two=ints(2), four=ints(4))
    case("resize_all_axes_same", 13, "y = Resize(x, , s)", s=floats(1, 1, 1, 1), **up)
    case("resize_3d_linear", 13, 'y = Resize<mode="linear">(x, , s)', x=(2, 2, 2, 3, 3), s=floats(1, 1, 2, 2, 2))
    case("resize_1d_linear", 13, 'y = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , , z)',
         x=(2, 2, 5), z=ints(2, 2, 9))
    case("resize_antialias_linear", 18, 'y = Resize<mode="linear", antialias=1>(x, , s)',
         x=(2, 2, 7, 8), s=floats(1, 1, 0.5, 0.375))
    case("resize_nearest", 13,
         'y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, , s)',
         x=(2, 3, 2, 3), s=floats(1, 1, 2, 2))
    case("resize_linear", 13, 'y = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(x, , s)',
         x=(2, 3, 2, 3), s=floats(1, 1, 2, 2))
    case("upsample_nearest", 9, 'y = Upsample<mode="nearest">(x, s)', x=(2, 3, 2, 3), s=floats(1, 1, 2, 2))
