"""Prunes trained convolutional networks: ONNX in, a smaller ONNX file out, checked against the original.

>>> import secateur
>>> result = secateur.prune("net.onnx", "images/", preset="imagenet", keep_macs=0.5)  # doctest: +SKIP
>>> result.save("small.onnx")                                                         # doctest: +SKIP

Data may also be arrays, PIL images, a PyTorch DataLoader, a Hugging Face data set or any iterable: see :class:`Data`.
"""

from ._data import Data, DataOptions
from ._errors import (
    BudgetError,
    DeviceError,
    Error,
    FileError,
    InputError,
    InternalError,
    Interrupted,
    MissingFileError,
    ModelError,
    OutOfMemoryError,
    ProofError,
    Refused,
    UnsupportedError,
)
from ._evaluation import bench, compare_criteria, devices, evaluate
from ._functions import Criterion, LayerStatistics, Metric
from ._network import Network
from ._profile_class import Profile
from ._profiling import merge, profile
from ._pruning import Cut, FormatTrial, Plan, Result, plan, prune
from ._quantization import (
    ActivationScale,
    FileSize,
    Quantization,
    Quantized,
    Sensitivity,
    quantize,
)
from ._results import (
    Attempt,
    Benchmark,
    Comparison,
    Constants,
    Cost,
    Curve,
    Device,
    FloatTrial,
    Latency,
    LayerTime,
    Measured,
    Point,
    Proof,
    Quality,
    Quantiles,
    Round,
    Timing,
    TrainingPoint,
    TrainingRecord,
)
from ._secateur import __version__
from ._training import Finetuned, Training, finetune

__all__ = [
    "ActivationScale",
    "Attempt",
    "Benchmark",
    "BudgetError",
    "Comparison",
    "Constants",
    "Cost",
    "Criterion",
    "Curve",
    "Cut",
    "Data",
    "DataOptions",
    "Device",
    "DeviceError",
    "Error",
    "FileError",
    "FileSize",
    "Finetuned",
    "FloatTrial",
    "FormatTrial",
    "InputError",
    "InternalError",
    "Interrupted",
    "Latency",
    "LayerStatistics",
    "LayerTime",
    "Measured",
    "Metric",
    "MissingFileError",
    "ModelError",
    "Network",
    "OutOfMemoryError",
    "Plan",
    "Point",
    "Profile",
    "Proof",
    "ProofError",
    "Quality",
    "Quantiles",
    "Quantization",
    "Quantized",
    "Refused",
    "Result",
    "Round",
    "Sensitivity",
    "Timing",
    "Training",
    "TrainingPoint",
    "TrainingRecord",
    "UnsupportedError",
    "__version__",
    "bench",
    "compare_criteria",
    "devices",
    "evaluate",
    "finetune",
    "merge",
    "plan",
    "profile",
    "prune",
    "quantize",
]
