"""The cases of make_golden_ops.py: single operators with awkward attributes, in every form that the
standard's history gave them, and the few-node graphs that exporters write around them. A file a family.

A case is its nodes in ONNX's textual form, and its tensors: a name that begins with x is fed, another
one is an initializer; a tuple is a shape to fill at random, an array is itself. The first axis of a
fed tensor of rank 2 or more is the symbolic batch `N`, unless `fixed=True`. Outputs are the values
whose names begin with y.
"""

from .activations import activations, passages
from .arithmetic import arithmetic, comparisons, powers
from .common import CASES
from .convolutions import convolutions, transposed
from .detectors import late, ssd, yolo
from .encodings import encodings
from .finding import finds, nothing
from .gathering import gathers, tables
from .normalization import normalizations, standardizations
from .pooling import pools
from .products import einsums, gemms, matmuls
from .quantization import quantizations
from .reductions import ranks, reductions
from .reshaping import blocks, repeats, reshapes
from .resizing import resizes
from .shapes import constants, shapes
from .slicing import joins, slices

__all__ = ["CASES"]

for family in (
    convolutions, gemms, matmuls, normalizations, activations, passages, pools, arithmetic, powers, comparisons,
    joins, slices, reshapes, repeats, gathers, blocks, reductions, shapes, constants, encodings, transposed, resizes,
    standardizations, ranks, tables, einsums, quantizations, finds, yolo, ssd, late, nothing,
):
    family()
