"""PyTorch modules: export to ONNX, the cut of a module after a pruned file, and files of pruned modules.

The way from a module to a smaller module:

    import secateur
    import secateur.torch

    secateur.torch.export(model, images[:1], "net.onnx")
    result = secateur.prune("net.onnx", data, keep_macs=0.5)
    secateur.torch.apply(model, result, images, original="net.onnx")
    secateur.torch.save(model, "small.pt")
    model = secateur.torch.load(build_model, "small.pt")

`torch` and `onnx` are imported when a function is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ._torch.errors import MappingError, ModuleError, ProofError
from ._torch.outcome import Applied

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Applied", "MappingError", "ModuleError", "ProofError", "apply", "export", "load", "save"]


def export(
    module: nn.Module,
    example: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    exporter: str = "auto",
    opset: int | None = None,
    dynamic_batch: bool = True,
    fold: bool = False,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> bytes:
    """Exports a module to ONNX, with the options that pruning and `apply` need.

    Parameters keep their names, BatchNorm stays apart, and the module is in evaluation mode while it is exported.

    Args:
        module: the module; its modes are restored.
        example: the arguments of `module`: a tensor, a tuple of arguments, or a dict by name.
        path: where to write the file; `None` returns the bytes only.
        exporter: `"dynamo"` (torch.export), `"torchscript"`, or `"auto"`: the first of the two that works, with a
            warning if dynamo does not.
        opset: the version of the ONNX operators; `None` for the exporter's default.
        dynamic_batch: leave the first axis free; if the exporters cannot, it stays fixed, with a warning.
        fold: let the exporter fold BatchNorm into the layers before. The file is then hardly smaller, and `apply` needs
            the cut to restore BatchNorm.
        input_names: names of the inputs; by default `input`, or the names of the parameters of `forward`.
        output_names: names of the outputs; by default the exporter's.

    Returns:
        The bytes of the ONNX file.

    Raises:
        ModuleError: no exporter can export the module.
    """
    from ._torch import exporting

    return exporting.export(
        module,
        example,
        path,
        exporter=exporter,
        opset=opset,
        dynamic_batch=dynamic_batch,
        fold=fold,
        input_names=input_names,
        output_names=output_names,
    )


def apply(
    module: nn.Module,
    result: Any,
    example: Any,
    *,
    original: Any = None,
    cut: Any = None,
    tolerance: float | None = None,
) -> Applied:
    """Cuts a module in place after a pruned ONNX file, with the repaired weights, and proves that both are equal.

    Each constant of the file is assigned to a tensor of the module: by its name, else by its elements, else as the weight
    of a layer whose BatchNorm was folded. Parameters stay the same objects, with their type, device and `requires_grad`.
    Create the optimizer afterwards: the state of an older one has the old shapes.

    Args:
        module: the module that was exported; its weights must be those of the original file.
        result: the result of `prune`, or the pruned ONNX file as bytes or path.
        example: the arguments of `module`, for the proof: a tensor, a tuple, or a dict by name.
        original: the file that was pruned, as bytes or path; by default `result.original`.
        cut: the cut, as path, JSON or mapping; by default `result.cut`. It is needed only to keep the statistics of
            BatchNorm that the exporter folded.
        tolerance: the largest difference of an output, as a share of its largest magnitude; by default 10⁻⁴ for float32.

    Returns:
        The largest differences, the shapes that changed, and the modules that have a bias now.

    Raises:
        MappingError: constants of the file have no counterpart; the error names node, constant, module and reason.
        ProofError: the outputs differ. In each case the module is as it was.
        ModuleError: the module fails on the example, or the example does not fit the file.
    """
    from ._torch import cutting

    return cutting.apply(module, result, example, original=original, cut=cut, tolerance=tolerance)


def save(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Writes a module's state_dict with its widths to one file, that `torch.load(…, weights_only=True)` accepts.

    Args:
        module: the module, for example after `apply`.
        path: the file; it is written whole or not at all.
    """
    from ._torch import files

    files.save(module, path)


def load(module: nn.Module | Callable[[], nn.Module], path: str | os.PathLike[str]) -> nn.Module:
    """Gives a full-size module the widths and tensors of a file of `save`.

    Args:
        module: a module of the same architecture, or a function that returns one. It keeps its types and devices.
        path: the file.

    Returns:
        The module.

    Raises:
        ModuleError: the file is none of `save`, or belongs to another architecture. The module is then as it was.
    """
    from ._torch import files

    return files.load(module, path)
