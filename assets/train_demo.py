"""Trains the network of `secateur demo` and writes assets/demo.onnx. Needs numpy, onnx, onnxruntime, torch.

    cargo run --release -- demo --write-images train.npz --count 20000 --seed 1
    cargo run --release -- demo --write-images test.npz --count 2000 --seed 2
    python3 assets/train_demo.py train.npz test.npz assets/demo.onnx

The network is wider than its task needs, as networks that are worth pruning are, and its training says
so: a group-lasso penalty on the scale and shift of each channel's batch normalisation (after Liu et al.,
"Learning efficient convolutional networks through network slimming", ICCV 2017) lets channels fall
silent that the task can do without, and decoupled weight decay shrinks their filters, which no gradient
feeds any more. A channel's penalty grows with the MACs that it costs (after Gordon et al., "MorphNet",
CVPR 2018). Channels that a residual sum ties share one penalty. Nothing in the training knows which
criterion, budget or images the pruning will use; the table printed at the end measures that.
"""

import argparse
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a busy machine is shared better so

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

# name: input channels, output channels, output size (pixels a side). All are 3×3, stride 1, padding 1.
CONVS = {
    "conv1": (3, 24, 32),
    "conv2": (24, 48, 16),
    "conv3": (48, 64, 8),
    "res1.conv1": (64, 64, 8),
    "res1.conv2": (64, 64, 8),
    "conv4": (64, 128, 4),
    "res2.conv1": (128, 128, 4),
    "res2.conv2": (128, 128, 4),
}
# Channels that can only stay or go together, and who reads them.
KNOTS = [
    (["conv1"], ["conv2"]),
    (["conv2"], ["conv3"]),
    (["conv3", "res1.conv2"], ["res1.conv1", "conv4"]),
    (["res1.conv1"], ["res1.conv2"]),
    (["conv4", "res2.conv2"], ["res2.conv1"]),
    (["res2.conv1"], ["res2.conv2"]),
]
MEAN, STD = 0.5, 0.25


def bn_name(conv):
    return conv.replace("conv", "bn")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict()
        for name, (inputs, outputs, _) in CONVS.items():
            key = name.replace(".", "_")
            self.layers[key] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            self.layers[key + "_bn"] = nn.BatchNorm2d(outputs)
        self.fc = nn.Linear(CONVS["conv4"][1], 10)
        self.seen = None  # name of a convolution → its output after the ReLU, when collecting

    def conv(self, name):
        return self.layers[name.replace(".", "_")]

    def bn(self, name):
        return self.layers[name.replace(".", "_") + "_bn"]

    def unit(self, name, x, skip=None):
        x = self.bn(name)(self.conv(name)(x))
        x = F.relu(x if skip is None else x + skip)
        if self.seen is not None:
            self.seen[name] = x
        return x

    def forward(self, x):
        x = F.max_pool2d(self.unit("conv1", x), 2)
        x = F.max_pool2d(self.unit("conv2", x), 2)
        x = self.unit("conv3", x)
        x = self.unit("res1.conv2", self.unit("res1.conv1", x), skip=x)
        x = self.unit("conv4", F.max_pool2d(x, 2))
        x = self.unit("res2.conv2", self.unit("res2.conv1", x), skip=x)
        return self.fc(x.mean((2, 3)))


def macs(widths=None):
    """MACs of one image, where convolution `name` has (inputs, outputs) of `widths`."""
    total = 10 * (widths["res2.conv2"][1] if widths else CONVS["conv4"][1])
    for name, (inputs, outputs, size) in CONVS.items():
        i, o = widths[name] if widths else (inputs, outputs)
        total += 9 * i * o * size * size
    return total


def knot_costs():
    """MACs of one image that a channel of each knot costs, in its own filters and in its readers'."""
    own = [sum(9 * CONVS[c][0] * CONVS[c][2] ** 2 for c in members) for members, _ in KNOTS]
    read = [sum(9 * CONVS[c][1] * CONVS[c][2] ** 2 for c in readers) for _, readers in KNOTS]
    return np.array(own) + np.array(read)


def normalised(images):
    x = (torch.from_numpy(images).float() / 255 - MEAN) / STD
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def shrink(net, thresholds):
    """The proximal step of the group lasso: the vector of a channel's scales and shifts gets shorter by a
    length. The knot's whole norm is then restored, as the next batch normalisation would undo a common
    factor anyway: what counts, and what gets sparse, is a channel's share."""
    for (members, _), threshold in zip(KNOTS, thresholds):
        parameters = [p for c in members for p in net.bn(c).parameters()]
        length = torch.stack(parameters).norm(dim=0)
        shorter = (length - threshold * len(members) ** 0.5).clamp_min(0)
        factor = shorter / length.clamp_min(1e-12) * (length.norm() / shorter.norm())
        for p in parameters:
            p.mul_(factor)


def train(net, images, labels, args):
    decayed = [net.conv(c).weight for c in CONVS] + [net.fc.weight]
    free = [p for c in CONVS for p in net.bn(c).parameters()] + [net.fc.bias]
    groups = [{"params": decayed, "weight_decay": args.decay}, {"params": free, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=args.rate)
    steps = args.epochs * (len(images) // args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [args.rate, args.rate], total_steps=steps, pct_start=0.2
    )
    costs = knot_costs()
    penalties = args.penalty * (costs / costs.mean()) ** 0.5
    began = time.time()
    for epoch in range(args.epochs):
        net.train()
        order = torch.randperm(len(images))
        right = count = 0
        for batch in order[: len(order) // args.batch * args.batch].split(args.batch):
            x, y = images[batch], labels[batch]
            # Shapes have no handedness and no preferred direction: flips and quarter turns are free data.
            turn = int(torch.randint(8, ()))
            x = torch.rot90(x, turn % 4, (2, 3))
            x = x.flip(3) if turn >= 4 else x
            logits = net(x.contiguous(memory_format=torch.channels_last))
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(logits, y, label_smoothing=0.05).backward()
            optimiser.step()
            shrink(net, schedule.get_last_lr()[0] * penalties)
            schedule.step()
            right += int((logits.argmax(1) == y).sum())
            count += len(y)
        silent = " ".join(str(int(silent_channels(net, members).sum())) for members, _ in KNOTS)
        print(f"epoch {epoch + 1:2}  {time.time() - began:5.0f} s  top-1 {right / count:.4f}  silent {silent}", flush=True)


def silent_channels(net, members):
    return torch.stack([p for c in members for p in net.bn(c).parameters()]).abs().sum(0) == 0


@torch.no_grad()
def accuracy(net, images, labels):
    net.eval()
    answers = torch.cat([net(x).argmax(1) for x in images.split(250)])
    return float((answers == labels).float().mean())


# ---- How well does it prune? ------------------------------------------------------------------------------


@torch.no_grad()
def channel_scores(net, images):
    """Criterion → convolution → one score a channel. Activations are taken after the ReLU."""
    net.eval()
    totals = {}
    for batch in images.split(250):
        net.seen = {}
        net(batch)
        for name, x in net.seen.items():
            x = x.double()
            sums = torch.stack([x.sum((0, 2, 3)), (x * x).sum((0, 2, 3)), (x > 0).double().sum((0, 2, 3))])
            size = x.shape[0] * x.shape[2] * x.shape[3]
            total, count = totals.get(name, (0, 0))
            totals[name] = (total + sums, count + size)
    net.seen = None
    moments = {name: total / count for name, (total, count) in totals.items()}
    return {
        "l1": {c: net.conv(c).weight.double().abs().sum((1, 2, 3)) for c in CONVS},
        "act-l1": {c: moments[c][0] for c in CONVS},
        "act-variance": {c: moments[c][1] - moments[c][0] ** 2 for c in CONVS},
        "apoz": {c: moments[c][2] for c in CONVS},
    }


def plan_cut(scores, budget):
    """Which channels of each knot stay: the lowest scores of the whole network go, until what stays costs
    at most `budget` of the MACs. Scores are divided by their layer's mean, and averaged over a knot."""
    kept, order = [], []
    for k, (members, _) in enumerate(KNOTS):
        score = sum(scores[c] / scores[c].mean() for c in members) / len(members)
        kept.append(torch.ones(len(score), dtype=bool))
        order += [(float(s), k, channel) for channel, s in enumerate(score)]
    full = macs()
    for _, k, channel in sorted(order):
        if macs(widths_of(kept)) <= budget * full:
            break
        if kept[k].sum() > 1:
            kept[k][channel] = False
    return kept


def widths_of(kept):
    outputs = {c: int(keep.sum()) for keep, (members, _) in zip(kept, KNOTS) for c in members}
    inputs = {c: int(keep.sum()) for keep, (_, readers) in zip(kept, KNOTS) for c in readers}
    return {c: (inputs.get(c, 3), outputs[c]) for c in CONVS}


@torch.no_grad()
def cut_accuracy(net, kept, images, labels):
    """Top-1 with the channels silenced: what the smaller network would answer."""
    state = {name: value.clone() for name, value in net.state_dict().items()}
    for keep, (members, _) in zip(kept, KNOTS):
        for c in members:
            net.bn(c).weight.mul_(keep)
            net.bn(c).bias.mul_(keep)
    result = accuracy(net, images, labels)
    net.load_state_dict(state)
    return result


# ---- Export -----------------------------------------------------------------------------------------------


def export(net, path):
    """Writes the network node by node, with BatchNormalization left as it is."""
    nodes, weights = [], []

    def constant(name, tensor):
        weights.append(numpy_helper.from_array(tensor.detach().contiguous().numpy(), name))
        return name

    def node(op, name, *inputs, **attributes):
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def unit(name, x, skip=None):
        conv, bn = net.conv(name), net.bn(name)
        x = node("Conv", name, x, constant(f"{name}.weight", conv.weight), kernel_shape=[3, 3], pads=[1] * 4)
        fields = ["weight", "bias", "running_mean", "running_var"]
        parameters = [constant(f"{bn_name(name)}.{field}", getattr(bn, field)) for field in fields]
        x = node("BatchNormalization", bn_name(name), x, *parameters, epsilon=bn.eps)
        if skip:
            x = node("Add", name.replace("conv2", "add"), x, skip)
        return node("Relu", name.replace("conv", "relu"), x)

    def pool(name, x):
        return node("MaxPool", name, x, kernel_shape=[2, 2], strides=[2, 2])

    x = unit("conv2", pool("pool1", unit("conv1", "image")))
    x = unit("conv3", pool("pool2", x))
    x = unit("res1.conv2", unit("res1.conv1", x), skip=x)
    x = unit("conv4", pool("pool3", x))
    x = unit("res2.conv2", unit("res2.conv1", x), skip=x)
    x = node("Flatten", "flatten", node("GlobalAveragePool", "pool4", x), axis=1)
    fc = constant("fc.weight", net.fc.weight), constant("fc.bias", net.fc.bias)
    nodes.append(helper.make_node("Gemm", [x, *fc], ["logits"], name="fc", transB=1))
    graph = helper.make_graph(
        nodes,
        "demo",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="train_demo.py"
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def exported_accuracy(path, net, images, labels):
    """Top-1 of the file, and the largest difference of its logits from the trained network's."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = np.concatenate([session.run(None, {"image": x.numpy()})[0] for x in images.split(250)])
    with torch.no_grad():
        ours = torch.cat([net(x) for x in images.split(250)]).numpy()
    return float((logits.argmax(1) == labels.numpy()).mean()), float(np.abs(logits - ours).max())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("out")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.3)
    parser.add_argument("--penalty", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)

    (images, labels), (test_images, test_labels) = [
        (normalised(file["images"]), torch.from_numpy(file["labels"].astype(np.int64)))
        for file in map(np.load, (args.train, args.test))
    ]
    net = Net().to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in net.parameters())} parameters, {macs() / 1e6:.1f} MMACs an image")
    train(net, images, labels, args)
    print(f"top-1 on the test images: {accuracy(net, test_images, test_labels):.4f}")

    scores = channel_scores(net, images[:1000])
    for budget in (0.75, 0.5, 0.35):
        cuts = {name: plan_cut(layers, budget) for name, layers in scores.items()}
        tops = {name: cut_accuracy(net, kept, test_images, test_labels) for name, kept in cuts.items()}
        row = "  ".join(f"{name} {top:.4f}" for name, top in tops.items())
        print(f"top-1 at {budget:.2f} of the MACs, not retrained: {row}")

    export(net, args.out)
    top, error = exported_accuracy(args.out, net, test_images, test_labels)
    print(f"{args.out}: top-1 {top:.4f} in onnxruntime, logits within {error:.1e} of the trained network's")


if __name__ == "__main__":
    main()
