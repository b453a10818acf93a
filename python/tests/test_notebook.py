"""The notebook of the examples: it is executed as a user would, and stored without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "python" / "prune_and_finetune.ipynb"


def test_it_is_stored_without_outputs() -> None:
    stored = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert stored["metadata"].keys() == {"kernelspec", "language_info"}
    cells = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 5
    for cell in cells:
        assert cell["outputs"] == [] and cell["execution_count"] is None and cell["metadata"] == {}


def test_it_prunes_and_trains_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in ("torch", "torchvision", "onnx", "onnxruntime", "onnxscript", "matplotlib", "ipykernel"):
        pytest.importorskip(needed, reason=f"{needed} is not installed: the notebook is not executed")
    client: Any = pytest.importorskip("nbclient", reason="nbclient is not installed: the notebook is not executed")
    import nbformat

    # Threads of PyTorch that wait for each other make a busy machine many times slower.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call,unused-ignore]
    folder = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=folder).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    trained, cut, tuned = (float(share) for share in re.findall(r"([\d.]+)% (?:trained|cut|fine-tuned)", printed))
    assert trained > 50 and cut > trained - 25 and tuned > 50, printed
    kept = re.search(r"MACs \((\d+)%\)", printed)
    assert kept and 35 <= int(kept[1]) <= 50, printed
    drawn = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(drawn) == 2 and (tmp_path / "small.pt").exists() and (tmp_path / "small.onnx").exists()
