"""Networks of other shapes: free sizes, several inputs, fixed values, one channel, no batch of images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import secateur

RANDOM = np.random.default_rng(3)


def constant(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(RANDOM.normal(0, 0.3, shape).astype(np.float32), name)


def build(nodes: list[Any], inputs: dict[str, list[Any]], constants: list[onnx.TensorProto]) -> bytes:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", values, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def convolutions(channels: int, size: Any) -> bytes:
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "conv2", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], "pool"),
        helper.make_node("Flatten", ["d"], ["y"], "flatten"),
    ]
    weights = [constant("w1", 12, channels, 3, 3), constant("w2", 5, 12, 3, 3)]
    return build(nodes, {"x": ["N", channels, *size]}, weights)


def two_inputs() -> bytes:
    nodes = [
        helper.make_node("Gemm", ["left", "w1"], ["a"], "gemm1", transB=1),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Add", ["b", "right"], ["c"], "add"),
        helper.make_node("Gemm", ["b", "w2"], ["d"], "gemm2", transB=1),
        helper.make_node("Concat", ["c", "d"], ["y"], "concat", axis=1),
    ]
    hidden = [
        helper.make_node("Gemm", ["left", "w0"], ["h"], "gemm0", transB=1),
        helper.make_node("Relu", ["h"], ["hr"], "relu0"),
    ]
    nodes[0] = helper.make_node("Gemm", ["hr", "w1"], ["a"], "gemm1", transB=1)
    weights = [constant("w0", 16, 6), constant("w1", 4, 16), constant("w2", 3, 4)]
    return build([*hidden, *nodes], {"left": ["N", 6], "right": ["N", 4]}, weights)


def test_sizes_that_the_file_leaves_free_are_those_of_the_data() -> None:
    net = secateur.Network(convolutions(3, ["H", "W"]))
    assert net.inputs == {"x": (3, None, None)}
    floats = RANDOM.random((12, 3, 20, 24)).astype(np.float32)
    for data in (floats, list(floats), iter(floats)):
        result = secateur.prune(net, data, keep_macs=0.5, repair="bias", device="cpu")
        assert result.proof.passed and result.after.macs < result.before.macs
    found = secateur.evaluate(result, floats, against=net, device="cpu")
    assert found.snr_db is not None and found.images == 12
    by_size = secateur.Network(convolutions(3, ["H", "W"]), sizes={"x": (1, 3, 20, 24)})
    # 12 filters of 3×3×3 and 5 of 3×3×12 at every pixel.
    assert by_size.macs == 20 * 24 * (12 * 27 + 5 * 108)
    assert secateur.prune(by_size, floats, keep_macs=0.5, repair="bias", device="cpu").before.macs == by_size.macs


def test_images_of_several_sizes_are_profiled() -> None:
    net = convolutions(3, ["H", "W"])
    images = [RANDOM.random((3, 8 + at % 3, 10)).astype(np.float32) for at in range(9)]
    assert secateur.profile(net, images, device="cpu").images == 9
    with pytest.raises(secateur.InputError, match="(?s)of several sizes"):
        secateur.prune(net, images, keep_macs=0.5, device="cpu")


def test_grey_images_may_lack_their_channel() -> None:
    net = convolutions(1, [28, 28])
    images = RANDOM.integers(0, 256, (10, 28, 28)).astype(np.uint8)
    given = (images, list(images), [images[:4], images[4:]], images[:, np.newaxis], images[..., np.newaxis])
    means = [
        secateur.profile(net, data, device="cpu").statistics()["conv1"]["post_mean"].tolist() for data in given
    ]
    assert all(mean == means[0] for mean in means)


def test_several_inputs_are_fed_by_name_or_in_order() -> None:
    net = two_inputs()
    left, right = (RANDOM.random((10, n)).astype(np.float32) for n in (6, 4))

    class Reader:
        def __iter__(self) -> Iterator[Any]:
            for at in range(0, 10, 4):
                yield {"right": right[at : at + 4], "left": left[at : at + 4]}

    labelled = [(left[at : at + 5], right[at : at + 5], np.arange(5)) for at in (0, 5)]
    given: list[Any] = [{"left": left, "right": right}, Reader(), list(zip(left, right)), labelled]
    found = [secateur.profile(net, data, device="cpu", by_class=False).to_bytes() for data in given]
    assert all(one == found[0] for one in found)
    with pytest.raises(secateur.InputError, match="(?s)lacks an input.*left, right"):
        secateur.profile(net, {"left": left, "wrong": right}, device="cpu")
    with pytest.raises(secateur.InputError, match="(?s)do not feed the network's inputs.*dictionary"):
        secateur.profile(net, left, device="cpu")
    with pytest.raises(secateur.InputError, match="fewer arrays than the network has inputs"):
        secateur.profile(net, [(left,)], device="cpu")
    with pytest.raises(secateur.InputError, match="differ in their number of samples"):
        secateur.profile(net, {"left": left, "right": right[:7]}, device="cpu")


def test_an_input_may_have_a_fixed_value() -> None:
    left = RANDOM.random((10, 6)).astype(np.float32)
    net = secateur.Network(two_inputs(), values={"right": [1, 2, 3, 4]}, sizes={"right": (1, 4)})
    assert net.inputs == {"left": (6,)}
    assert secateur.prune(net, left, keep_macs=0.7, repair="none", device="cpu").proof.passed
