"""Gather and scatter operators."""

import numpy as np

from .common import case, each, ints, scalar


def gathers():
    """Gather."""
    image = (2, 4, 3, 5)
    each("gather_channels", (7, 11, 13), "y = Gather<axis=1>(x, i)", x=image, i=ints(2, 0, 0, 3))
    case("gather_negative_index", 13, "y = Gather<axis=1>(x, i)", x=image, i=ints(-1, 1))
    case("gather_scalar_index", 13, "y = Gather<axis=2>(x, i)", x=image, i=scalar(1, np.int64))
    case("gather_2d_indices", 13, "y = Gather<axis=-1>(x, i)", x=image, i=np.array([[0, 4], [-2, 1], [3, 3]], np.int64))
    case("gather_default_axis", 13, "y = Gather(c, i)\ny_2 = Relu(x)", x=(2, 3), c=(4, 3), i=ints(1, 3))
    case("gather_many_indices", 13, "y = Gather<axis=1>(x, i)", x=(2, 7, 3), i=ints(3, 0, 6, -1, 2, 2, 5, 1, 4, -7, 0))
    case("gather_runtime_index", 13, "i = ArgMax<axis=1, keepdims=0>(x_pick)\ny = Gather<axis=1>(x, i)", fixed=True,
         x=(2, 3, 4), x_pick=(2, 3))


def gather_scatter():
    """GatherElements, GatherND and the Scatter operators."""
    image = (2, 3, 4, 5)
    case("gatherelements", 13, "y = GatherElements<axis=1>(x, i)", fixed=True,
         x=(2, 3, 4), i=np.array([[[0, 2, -1, 1]], [[1, 0, 0, -3]]], np.int64))
    case("gatherelements_boxes", 13, "v, i = TopK<axis=1>(x_score, k)\ne = Expand(i, s)\ny = GatherElements<axis=1>(x, e)",
         fixed=True, x=(1, 6, 4), x_score=(1, 6, 1), k=ints(3), s=ints(1, 3, 4))
    case("gatherelements_narrow", 11, "v, i = TopK<axis=2>(x_score, k)\ny = GatherElements<axis=2>(x, i)",
         x=(2, 3, 7), x_score=(2, 3, 5), k=ints(4))
    case("gathernd", 12, "y = GatherND(x, i)", fixed=True, x=image, i=np.array([[0, 2], [1, -1]], np.int64))
    case("gathernd_batch", 13, "y = GatherND<batch_dims=1>(x, i)", fixed=True,
         x=image, i=np.array([[[0], [2]], [[1], [-1]]], np.int64))
    case("scatterelements", 16, "y = ScatterElements<axis=1>(x, i, x_u)", fixed=True,
         x=(2, 5), i=np.array([[1, -1], [0, 3]], np.int64), x_u=(2, 2))
    case("scatter_old", 9, "y = Scatter<axis=0>(x, i, u)", fixed=True,
         x=(3, 4), i=np.array([[2, 0, 1, 2]], np.int64), u=(1, 4))
    case("scatternd", 11, "y = ScatterND(x, i, x_u)", fixed=True,
         x=(4, 3, 2), i=np.array([[2], [0]], np.int64), x_u=(2, 3, 2))
    case("scatternd_points", 16, "y = ScatterND(x, i, u)", fixed=True,
         x=(4, 3), i=np.array([[2, 1], [0, -1], [3, 0]], np.int64), u=(3,))
