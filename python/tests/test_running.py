"""Progress, interruption, and several threads."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur


def test_progress_is_reported(demo: str, images: Any) -> None:
    seen: list[tuple[str, int, int]] = []
    secateur.profile(demo, images, batch=10, device="cpu", progress=lambda *now: seen.append(now))
    assert ("profiling", 0, 60) in seen and seen[-1] == ("profiling", 60, 60)
    assert {stage for stage, _, _ in seen} == {"profiling"}


def test_a_bar_is_drawn(demo: str, images: Any, capsys: pytest.CaptureFixture[str]) -> None:
    secateur.profile(demo, images, batch=10, device="cpu", progress=True)
    assert "profiling" in capsys.readouterr().err


def test_a_callback_ends_an_operation(demo: str, images: Any, tmp_path: Path) -> None:
    file = tmp_path / "net.profile"

    def stop(stage: str, done: int, total: int) -> bool:
        return done < 20

    part = secateur.profile(demo, images, batch=10, device="cpu", progress=stop, checkpoint=file)
    assert not part.complete and part.images == 20 and "incomplete" in repr(part)
    whole = secateur.profile(demo, images, batch=10, device="cpu", checkpoint=file)
    assert whole.complete and whole.images == 60
    expected = secateur.profile(demo, images, device="cpu").statistics()
    for layer, statistics in whole.statistics().items():
        assert np.array_equal(statistics["post_mean"], expected[layer]["post_mean"])
    with pytest.raises(secateur.Interrupted):
        secateur.evaluate(demo, images, against=demo, batch=10, device="cpu", progress=lambda *_: False)
    with pytest.raises(secateur.InputError, match="more images than are asked for|other data|another"):
        secateur.profile(demo, images[:10], batch=10, device="cpu", checkpoint=_incomplete(demo, images, tmp_path))


def _incomplete(demo: str, images: Any, folder: Path) -> Path:
    file = folder / "part.profile"
    secateur.profile(demo, images, batch=10, device="cpu", progress=lambda s, n, t: n < 20, checkpoint=file)
    return file


def test_an_exception_of_a_callback_is_raised(demo: str, images: Any) -> None:
    def fail(stage: str, done: int, total: int) -> None:
        raise RuntimeError("the window was closed")

    with pytest.raises(RuntimeError, match="the window was closed"):
        secateur.prune(demo, images, keep_macs=0.7, device="cpu", progress=fail)


def test_the_gil_is_released(demo: str, images: Any) -> None:
    ticks = 0
    with ThreadPoolExecutor(1) as pool:
        pruned = pool.submit(secateur.prune, demo, images, keep_macs=0.7, repair="bias", device="cpu")
        while not pruned.done():
            time.sleep(0.001)
            ticks += 1
    assert pruned.result().proof.passed
    assert ticks > 20, "this thread ran beside the other one"


def test_two_threads_call_at_once(demo: str, images: Any) -> None:
    network = secateur.Network(demo)

    def data(index: int) -> Any:
        return images if index % 2 else (image for image in images)

    def work(index: int) -> bytes:
        metric = secateur.Metric(lambda outputs, _: float(outputs["logits"].max()))
        options: dict[str, Any] = {"criterion": lambda layer: layer["post_mean"], "repair": "bias"}
        return secateur.prune(network, data(index), keep_macs=0.7, metric=metric, force=True, device="cpu", **options).onnx

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(8)))
    assert len(set(found)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
def test_ctrl_c_raises_keyboard_interrupt(demo: str, tmp_path: Path) -> None:
    script = f"""
        # A job in the background inherits that Ctrl-C is ignored.
        import signal; signal.signal(signal.SIGINT, signal.default_int_handler)
        import sys, threading
        import numpy as np, secateur
        # A million images that take no memory.
        images = np.broadcast_to(np.zeros((1, 32, 32, 3), np.uint8), (1_000_000, 32, 32, 3))
        threading.Timer(1.0, lambda: print("ready", flush=True)).start()
        try:
            secateur.profile({demo!r}, images, batch=32, device="cpu", checkpoint={str(tmp_path / "net.profile")!r})
        except KeyboardInterrupt:
            part = secateur.Profile({str(tmp_path / "net.profile")!r})
            print("interrupted", part.complete, part.images > 0, flush=True)
            sys.exit(3)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert out == "interrupted False True\n"
    assert time.monotonic() - sent < 30


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
def test_ctrl_c_within_a_loader(demo: str) -> None:
    script = f"""
        # A job in the background inherits that Ctrl-C is ignored.
        import signal; signal.signal(signal.SIGINT, signal.default_int_handler)
        import sys, time
        import numpy as np, secateur
        def slow():
            print("ready", flush=True)
            while True:
                time.sleep(0.01)
                yield np.zeros((32, 32, 3), np.uint8)
        try:
            secateur.profile({demo!r}, slow(), device="cpu")
        except KeyboardInterrupt:
            sys.exit(3)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 3
