"""The cases of make_golden_ops.py, one file for each operator family.

They cover single operators with awkward attributes, in every form of the standard's history, and the small graphs
that exporters write around them.

A case consists of nodes in ONNX's textual form, and tensors. Tensors whose names begin with x are inputs, the others
initializers. A tuple is a shape to fill at random; an array is used unchanged. The first axis of an input of rank 2 or
more is the symbolic batch `N`, unless `fixed=True`. Values whose names begin with y are outputs.

Case names are part of the golden file and seed the random numbers: a renamed case has other tensors.
"""

from .activations import activations, identities
from .arithmetic import arithmetic, comparisons, powers
from .common import CASES
from .convolutions import computed, convolutions, transposed
from .data_dependent import data_dependent, empty
from .detectors import host_subgraphs, ssd, yolo
from .encodings import encodings
from .fused import fusions
from .gathering import gather_scatter, gathers
from .normalization import computed_normalizations, normalizations
from .pooling import pools, unpools
from .products import einsums, gemms, matmuls
from .quantization import quantizations
from .recurrent import recurrent
from .reductions import arg_topk, reductions
from .reshaping import blocks, repeats, reshapes
from .resizing import resizes
from .sampling import deformable, regional, sampling
from .shapes import constants, shapes
from .slicing import joins, slices

__all__ = ["CASES"]

for family in (
    convolutions, gemms, matmuls, normalizations, activations, identities, pools, arithmetic, powers, comparisons,
    joins, slices, reshapes, repeats, gathers, blocks, reductions, shapes, constants, encodings, transposed, resizes,
    computed_normalizations, arg_topk, gather_scatter, einsums, quantizations, data_dependent, yolo, ssd,
    host_subgraphs, empty, fusions, computed, unpools, sampling, regional, deformable, recurrent,
):
    family()
