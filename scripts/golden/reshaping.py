"""Operators that rearrange axes or repeat along them."""

from .common import case, each, ints


def reshapes():
    """Flatten, Reshape, Transpose, Squeeze, Unsqueeze."""
    image = (2, 4, 3, 5)
    for axis in (0, 1, 2, 4):
        case(f"flatten_axis{axis}", 9, f"y = Flatten<axis={axis}>(x)", fixed=axis == 0, x=image)
    case("flatten_default", 7, "y = Flatten(x)", x=image)
    each("flatten_negative_axis", (11, 13), "y = Flatten<axis=-1>(x)", x=image)
    each("reshape_zero_and_rest", (7, 13, 14, 21), "y = Reshape(x, s)", x=image, s=ints(0, -1, 5))
    case("reshape_fixed_batch", 13, "y = Reshape(x, s)", fixed=True, x=image, s=ints(2, 6, 10))
    case("reshape_batch_from_rest", 13, "y = Reshape(x, s)", x=image, s=ints(-1, 60))
    case("reshape_to_more_axes", 13, "y = Reshape(x, s)", x=image, s=ints(0, 2, 2, 3, 5))
    case("reshape_allowzero", 14, "y = Reshape<allowzero=1>(x, s)", x=image, s=ints(-1, 3, 4, 5))
    each("transpose_default", (7, 13), "y = Transpose(x)", fixed=True, x=(2, 3, 4))
    each("transpose_nhwc", (7, 13), "y = Transpose<perm=[0, 2, 3, 1]>(x)", x=image)
    case("transpose_5d", 13, "y = Transpose<perm=[0, 2, 1, 4, 3]>(x)", x=(2, 3, 4, 2, 2))
    case("transpose_batch_moves", 13, "y = Transpose<perm=[1, 0, 2]>(x)", fixed=True, x=(2, 3, 4))
    case("channel_shuffle", 13, "a = Reshape(x, s)\nb = Transpose<perm=[0, 2, 1, 3, 4]>(a)\ny = Reshape(b, t)",
         x=(2, 6, 2, 3), s=ints(0, 2, 3, 2, 3), t=ints(0, 6, 2, 3))
    each("squeeze_attr", (7, 11), "y = Squeeze<axes=[2, 3]>(x)", x=(2, 3, 1, 1))
    case("squeeze_attr_negative", 12, "y = Squeeze<axes=[-1]>(x)", x=(2, 3, 1, 1))
    each("squeeze_input", (13, 21), "y = Squeeze(x, a)", x=(2, 3, 1, 1), a=ints(-1, 2))
    case("squeeze_no_axes", 7, "y = Squeeze(x)", fixed=True, x=(2, 1, 3, 1))
    case("squeeze_no_axes", 13, "y = Squeeze(x)", fixed=True, x=(2, 1, 3, 1))
    each("unsqueeze_attr", (7, 11), "y = Unsqueeze<axes=[1, 3]>(x)", x=(2, 3))
    case("unsqueeze_attr_negative", 12, "y = Unsqueeze<axes=[-1, 1]>(x)", x=(2, 3))
    each("unsqueeze_input", (13, 21), "y = Unsqueeze(x, a)", x=(2, 3), a=ints(2, 3))
    case("unsqueeze_input_negative", 13, "y = Unsqueeze(x, a)", x=(2, 3), a=ints(-1, -3))


def repeats():
    """Expand and Tile."""
    image = (2, 4, 3, 5)
    each("expand_constant", (8, 13), "e = Expand(c, s)\ny = Add(x, e)", x=(2, 3, 4), c=(3, 1), s=ints(1, 3, 4))
    case("expand_data", 13, "y = Expand(x, s)", x=(2, 3, 1, 1), s=ints(1, 1, 4, 5))
    case("expand_to_shape_of_other", 13, "s = Shape(x)\ne = Expand(x_g, s)\ny = Mul(x, e)", x=image, x_g=(2, 4, 1, 1))
    case("tile", 13, "y = Tile(x, r)", x=(2, 3, 2), r=ints(1, 2, 3))


def blocks():
    """DepthToSpace and SpaceToDepth."""
    case("depthtospace", 7, "y = DepthToSpace<blocksize=2>(x)", x=(2, 8, 2, 3))
    for mode in ("DCR", "CRD"):
        each(f"depthtospace_{mode.lower()}", (11, 13), f'y = DepthToSpace<blocksize=2, mode="{mode}">(x)',
             x=(2, 12, 2, 3))
    case("depthtospace_crd_3", 13, 'y = DepthToSpace<blocksize=3, mode="CRD">(x)', x=(2, 9, 2, 2))
    each("spacetodepth", (7, 13), "y = SpaceToDepth<blocksize=2>(x)", x=(2, 3, 4, 6))
