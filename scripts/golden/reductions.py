"""Reductions, arg, top-k and cumulative operators along an axis."""

import numpy as np

from .common import case, each, ints, positive, scalar


def reductions():
    """The Reduce operators: axes as an attribute, then as an input."""
    image = (2, 3, 4, 5)
    for op, moved in (("ReduceMean", 18), ("ReduceSum", 13), ("ReduceMax", 18)):
        low = op.lower()
        each(f"{low}_spatial", (7, 11, moved - 1), f"y = {op}<axes=[2, 3]>(x)", x=image)
        case(f"{low}_drop", 7, f"y = {op}<axes=[2, 3], keepdims=0>(x)", x=image)
        case(f"{low}_negative", 11, f"y = {op}<axes=[-1, -3], keepdims=0>(x)", x=image)
        case(f"{low}_channels", 11, f"y = {op}<axes=[1], keepdims=1>(x)", x=image)
        case(f"{low}_all", 11, f"y = {op}<keepdims=0>(x)", fixed=True, x=image)
        case(f"{low}_all_keep", 7, f"y = {op}(x)", fixed=True, x=(2, 3, 4))
        each(f"{low}_input_axes", (moved, max(20, moved)), f"y = {op}(x, a)", x=image, a=ints(2, 3))
        case(f"{low}_input_axes_drop", moved, f"y = {op}<keepdims=0>(x, a)", x=image, a=ints(-1, 1))
        case(f"{low}_input_absent", moved, f"y = {op}(x)", fixed=True, x=image)
        case(f"{low}_noop", moved, f"y = {op}<noop_with_empty_axes=1>(x)", x=image)
    case("reducemin", 13, "y = ReduceMin<axes=[2], keepdims=0>(x)", x=image)
    case("reducel2", 13, "y = ReduceL2<axes=[1]>(x)", x=image)
    case("reduceprod", 13, "y = ReduceProd<axes=[3]>(x)", x=image)
    for op in ("ReduceL1", "ReduceSumSquare", "ReduceLogSumExp"):
        case(f"{op.lower()}_middle", 13, f"y = {op}<axes=[1, 3], keepdims=0>(x)", x=image)
        case(f"{op.lower()}_all", 13, f"y = {op}(x)", fixed=True, x=(2, 3, 4))
    case("reducelogsum", 18, "y = ReduceLogSum(x, a)", x=positive(*image), a=ints(1))
    case("reducelogsumexp_large", 18, "y = ReduceLogSumExp(x, a)", fixed=True,
         x=np.array([[1000, 999], [-1000, -1001]], np.float32), a=ints(1))


def arg_topk():
    """ArgMax, ArgMin, TopK, CumSum."""
    image = (2, 3, 4, 5)
    case("argmax", 13, "y = ArgMax<axis=1, keepdims=0>(x)", x=image)
    case("argmin_last", 13, "y = ArgMin<axis=1, keepdims=0, select_last_index=1>(x)", fixed=True,
         x=np.array([[2, 1, 1, 3], [0, 0, 5, 0]], np.float32))
    case("argmax_cast_mul", 13, "i = ArgMax<axis=1>(x)\nf = Cast<to=1>(i)\ny = Mul(x, f)", x=image)
    case("topk", 11, "y, i = TopK<axis=-1>(x, k)", x=image, k=ints(3))
    case("topk_smallest_values_used", 11, "v, i = TopK<axis=1, largest=0>(x, k)\ny = Relu(v)", x=image, k=ints(2))
    case("topk_indices", 10, "v, y = TopK(x, k)", x=(2, 9), k=ints(4))
    case("topk_gather_elements", 13, "v, i = TopK<axis=2>(x, k)\ny = GatherElements<axis=2>(x_b, i)",
         x=image, x_b=image, k=ints(2))
    for name, attributes in (("", ""), ("_exclusive", "<exclusive=1>"), ("_reverse", "<reverse=1>"),
                             ("_both", "<exclusive=1, reverse=1>")):
        case(f"cumsum{name}", 14, f"y = CumSum{attributes}(x, a)", x=(2, 3, 4), a=scalar(1, np.int64))
