#!/usr/bin/env python3
"""Compares networks with data-dependent shapes with ONNX Runtime: check_data_dependent.py BIN SHARED

The networks are the detectors among the golden cases, and a trained face detector followed by NonMaxSuppression, as
exporters append it. Every verb must work on them. `run` must return ONNX Runtime's values, shapes and types. The
pruned network must select the boxes of the masked original. Unsupported nodes on the host must cause an error that
names the node.
"""

import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper, parser
from safetensors.numpy import load_file

import common

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "ops.safetensors"
RANDOM = ["--data", "random:4", "--allow-random"]


def golden():
    """Yields the detectors of the golden file: name, model and inputs."""
    tensors = load_file(GOLDEN)
    names = {k.split("/")[0] for k in tensors if k.startswith(("detector_", "late_", "nothing_"))}
    # Every feature of the detector of two stages enters the host subgraph, and ONNX Runtime's RoiAlign overflows on noise.
    names = {name for name in names if not name.startswith("detector_two_stages")}
    for name in sorted(names):
        feeds = {k.split("/")[2]: v for k, v in tensors.items() if k.startswith(f"{name}/in/")}
        yield name, onnx.load_from_string(tensors[f"{name}/model"].tobytes()), feeds


def face_detector(shared):
    """Returns the trained UltraFace followed by the selection of boxes, with real pictures and a black one."""
    name = "face_ultraface_rfb320_raw"
    model = onnx.version_converter.convert_version(onnx.load(shared / "models" / f"{name}.onnx"), 11)
    selection = parser.parse_graph("""
        selection (float[1, 4420, 2] all, float[1, 4420, 4] corners) =>
            (float[K, 4] chosen_boxes, float[K] chosen_scores, int32[K] labels, int64[] count)
        <int64[1] most = {50}, float[1] overlap = {0.3}, float[1] least = {0.1}, int64[1] zero = {0},
         int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3}, int64 first = {0}> {
            turned = Transpose<perm=[0, 2, 1]>(all)
            faces = Slice(turned, one, two, one)
            found = NonMaxSuppression(corners, faces, most, overlap, least)
            class = Slice(found, one, two, one)
            flat_class = Squeeze<axes=[1]>(class)
            labels = Cast<to=6>(flat_class)
            index = Slice(found, two, three, one)
            flat = Squeeze<axes=[1]>(index)
            plain_boxes = Squeeze<axes=[0]>(corners)
            chosen_boxes = Gather(plain_boxes, flat)
            chosen_scores = GatherND(faces, found)
            size = Shape(found)
            count = Gather(size, first)
        }""")
    for index, node in enumerate(selection.node):
        node.name = f"{node.op_type}_selection{index}"
    selection.output[3].CopyFrom(helper.make_tensor_value_info("count", TensorProto.INT64, []))
    joined = compose.merge_graphs(model.graph, selection, [("scores", "all"), ("boxes", "corners")])
    model = helper.make_model(joined, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    onnx.checker.check_model(model)
    ((value, dims),) = common.own_inputs(model)
    real = common.pictures(shared, name, [3, *dims[1:]])
    return model, [{value: image[None]} for image in real] + [{value: np.zeros(dims, np.float32)}]


def difference(got, expected):
    """Compares outputs, shapes, types and values up to rounding; returns the difference, or an empty text."""
    if got.keys() != expected.keys():
        return f"outputs {sorted(got)}, expected {sorted(expected)}"
    for name, e in expected.items():
        g, e = got[name], np.asarray(e)
        if (g.shape, g.dtype) != (e.shape, e.dtype):
            return f"{name} is {g.shape} {g.dtype}, expected {e.shape} {e.dtype}"
        error = common.relative_error(g, e)
        if not error <= common.TOLERANCE:
            return f"{name} differs by {error:.1e}"
    return ""


def forward(report, program, name, path, feeds, scratch):
    """Checks `run` on every kind of device."""
    for device in ["cpu"] + [str(a["index"]) for a in program.adapters()[:1]]:
        faults, shapes = [], []
        for index, feed in enumerate(feeds):
            expected = {common.file_name(n): a for n, a in common.ort_outputs(onnx.load(path), feed).items()}
            code, result, got = common.run_model(program, path, feed, scratch / f"run-{device}-{index}", device)
            faults.append(common.message(result) if code != 0 else difference(got, expected))
            declared = {common.file_name(o["name"]): tuple(o["shape"]) for o in result.get("outputs", [])}
            if code == 0 and declared != {n: a.shape for n, a in got.items()}:
                faults.append(f"reports shapes {declared}")
            shapes.append("/".join("×".join(map(str, a.shape)) or "scalar" for a in got.values()))
        report.check(not any(faults), f"{name} on {device}", " ".join(filter(None, faults)) or "  ".join(shapes)[:160])


def verbs(report, program, name, path, scratch):
    """Checks that every other verb runs, and reports the nodes on the host."""
    def done(what, code, result, holds):
        report.check(code == 0 and holds(result), f"{name}: {what}", "" if code == 0 and holds(result) else f"{code} {common.message(result)} {str(result)[:300]}")

    on_host = lambda a: a["host_nodes"] and any(o["shape"] is None for o in a["outputs"])
    done("inspect", *program.json("inspect", path), on_host)
    blocked = lambda a: any(c["blocked"] and "only at run time" in c["blocked"]["reason"] for c in a["coupled"])
    done("inspect reports the reason", *program.json("inspect", path), blocked)
    done("check", *program.json("check", path, "--device", "cpu"), lambda a: a["passed"] and a["host"])
    done("profile", *program.json("profile", path, *RANDOM, "-o", scratch / "p.safetensors", "--device", "cpu"), lambda a: True)
    done("plan", *program.json("plan", path, "--profile", scratch / "p.safetensors", "--criterion", "apoz", "--keep-macs", "0.8",
                               "-o", scratch / "cut.json"), lambda a: a["removed"] > 0)
    done("bench", *program.json("bench", path, "--seconds", "0.1", "--device", "cpu"), lambda a: a["models"][0]["host_nodes"] > 0)
    done("eval", *program.json("eval", path, "--against", path, *RANDOM, "--device", "cpu"), lambda a: a["max_abs_err"] == 0 and a["top1"] is None)


def prune(report, program, name, path, feeds, keep, scratch):
    """Checks that the pruned network has the outputs of the masked original."""
    out, masked = scratch / "small.onnx", scratch / "masked.onnx"
    code, result = program.json("prune", path, *RANDOM, "--keep-macs", keep, "-o", out, "--masked", masked, "--device", "cpu")
    if code != 0:
        report.check(False, f"{name}: prune", common.message(result)[:300])
        return
    small, original = onnx.load(out), onnx.load(path)
    onnx.checker.check_model(small)
    faults = [difference(common.ort_outputs(small, f), common.ort_outputs(onnx.load(masked), f)) for f in feeds]
    ratio = result["after"]["macs"] / result["before"]["macs"]
    faults += [] if ratio <= keep and result["proof"]["passed"] else [f"kept {ratio}: {result['proof']}"]
    faults += [] if [o.SerializeToString() for o in small.graph.output] == [o.SerializeToString() for o in original.graph.output] else ["outputs changed"]
    report.check(not any(faults), f"{name}: prune", " ".join(filter(None, faults)) or f"macs x{ratio:.3f}")
    forward(report, program, f"{name}: pruned", out, feeds, scratch / "pruned")


def errors(report, program, scratch):
    """Checks that unsupported nodes on the host cause an error with the node and a remedy."""
    for nodes, words in [
        ("n = NonZero(x)\ny, i = TopK<axis=1>(n, seven)", ["TopK_1", "runs on the host"]),
        ("n = NonZero(x)\ny = Reshape(n, seven)", ["Reshape_1"]),
        ("n = NonZero(x)\nf = Cast<to=1>(n)\ny = MatMul(f, f)", ["MatMul_2"]),
        ("n = NonZero(x)\ns = Size(n)\nc = Greater(s, six)\ny = If<then_branch=g () => (int64[A, B] t) {t = Identity(n)}, "
         "else_branch=h () => (int64[A, B] e) {e = Neg(n)}>(c)", ["If_3", "depends on computed elements"]),
        ("y = NonMaxSuppression(b, s, seven, much)", ["NonMaxSuppression_0", "iou_threshold", "0 to 1"]),
    ]:
        parsed = [parser.parse_node(line) for line in nodes.split("\n")]
        for index, node in enumerate(parsed):
            node.name = f"{node.op_type}_{index}"
        constants = dict(seven=np.array([7], np.int64), six=np.array(6, np.int64), much=np.array([3], np.float32))
        infos = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])]
        if "NonMax" in nodes:
            infos = [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 2, 4]), helper.make_tensor_value_info("s", TensorProto.FLOAT, [1, 1, 2])]
        graph = helper.make_graph(parsed, "g", infos, [helper.make_tensor_value_info("y", TensorProto.INT64, ["A", "B"])],
                                  [numpy_helper.from_array(v, k) for k, v in constants.items()])
        name = parsed[-1].op_type
        path = scratch / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
        feeds = {i.name: np.ones([d.dim_value for d in i.type.tensor_type.shape.dim], np.float32) for i in infos}
        code, result, _ = common.run_model(program, path, feeds, scratch / f"error-{name}", "cpu")
        text = common.message(result)
        report.check(code == 2 and all(w in text for w in words), f"{name} in a host subgraph", text[:200])


def main():
    program, shared = common.Program(sys.argv[1]), pathlib.Path(sys.argv[2])
    report = common.Report()
    with tempfile.TemporaryDirectory(prefix="secateur-e2e-") as folder:
        scratch = pathlib.Path(folder)
        networks = [(name, model, [feeds], 0.5) for name, model, feeds in golden()]
        if (shared / "models").is_dir():
            networks.append(("face detector", *face_detector(shared), 0.9))
        else:
            report.skip("face detector", f"no {shared}/models")
        for name, model, feeds, keep in networks:
            place = scratch / name.replace(" ", "_")
            place.mkdir()
            path = place / "model.onnx"
            onnx.save(model, path)
            forward(report, program, name, path, feeds, place)
            if name.startswith("nothing"):
                continue
            verbs(report, program, name, path, place)
            prune(report, program, name, path, feeds, keep, place)
        errors(report, program, scratch)
    report.finish()


if __name__ == "__main__":
    main()
