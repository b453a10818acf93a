"""The package: types, documentation, and the program that it installs."""

from __future__ import annotations

import importlib.util
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import secateur

PACKAGE = Path(__file__).resolve().parents[1]


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=PACKAGE, capture_output=True, text=True)


#: Without torch, the modules that need it cannot be checked.
HAS_TORCH = importlib.util.find_spec("torch") is not None


def test_mypy_is_content() -> None:
    left_out = [] if HAS_TORCH else ["--exclude", r"/(_torch/|torch\.py)"]
    found = python("-m", "mypy", "--strict", "--python-version", "3.10", *left_out, "py_src/secateur")
    assert found.returncode == 0, found.stdout


def test_callers_get_types(tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(
        "import secateur\n"
        "result = secateur.prune('a.onnx', 'images/', keep_macs=0.5, preset='imagenet', shard=(0, 8))\n"
        "reveal_type(result.onnx)\n"
        "reveal_type(secateur.profile('a.onnx', 'images/').statistics())\n"
        "secateur.prune('a.onnx', keep_macs='half')\n"
        "secateur.prune('a.onnx', presett='imagenet')\n"
    )
    found = python("-m", "mypy", "--strict", str(tmp_path / "use.py"))
    assert 'Revealed type is "bytes"' in found.stdout or 'Revealed type is "builtins.bytes"' in found.stdout, found.stdout
    assert "dict[str, " in found.stdout
    assert found.stdout.count("error:") == 2, found.stdout


def test_stubs_describe_the_package() -> None:
    modules = ["secateur"] if HAS_TORCH else ["secateur._secateur"]
    found = python("-m", "mypy.stubtest", *modules, "--ignore-missing-stub")
    assert found.returncode == 0, found.stdout


def test_everything_is_documented() -> None:
    for name in secateur.__all__:
        if name.startswith("__"):
            continue
        thing = getattr(secateur, name)
        assert thing.__doc__ and len(thing.__doc__.split()) >= 4, name
        if inspect.isfunction(thing):
            documented = thing.__doc__.split("Args:")[-1]
            for parameter in inspect.signature(thing).parameters:
                is_listed = f"{parameter}:" in documented or "arguments are those of" in thing.__doc__
                assert is_listed, f"{name}: {parameter}"


def test_the_program_is_installed(tmp_path: Path, demo: str) -> None:
    found = python("-m", "secateur", "inspect", demo, "--json")
    assert found.returncode == 0 and json.loads(found.stdout)["layers"], found.stderr
    wrong = python("-m", "secateur", "inspekt")
    assert wrong.returncode == 2 and "did you mean" in wrong.stderr
    none = python("-m", "secateur", "prune", "--json")
    assert none.returncode == 2 and "secateur prune --help" in none.stdout + none.stderr
    script = Path(sys.executable).parent / ("secateur.exe" if sys.platform == "win32" else "secateur")
    if script.exists():
        version = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
        assert version.stdout.split() == ["secateur", secateur.__version__]


@pytest.mark.parametrize("name", ["quickstart.py"])
def test_examples_run(name: str, tmp_path: Path) -> None:
    example = PACKAGE.parent / "examples" / "python" / name
    found = subprocess.run([sys.executable, example], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
