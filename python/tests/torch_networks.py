"""Small modules for the tests of `secateur.torch`: each is of a kind that is stored or cut in its own way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn(a: int, b: int, **options: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False, **options), nn.BatchNorm2d(b), nn.ReLU(inplace=True))


class Head(nn.Module):
    """Features, a global pool and a classifier."""

    def __init__(self, features: nn.Module, width: int) -> None:
        super().__init__()
        self.features = features
        self.fc = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(conv_bn(width, width), nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.inner(x))


class Dense(nn.Module):
    """Concatenation of inputs and outputs, with BatchNorm before the layer."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.conv = nn.Conv2d(width, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


class Squeeze(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, width // 2, 1), nn.Conv2d(width // 2, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(F.silu(self.down(F.adaptive_avg_pool2d(x, 1)))))


class Functional(nn.Module):
    """A convolution of the user's own, with customary attributes."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = a, b, 1
        self.kernel = nn.Parameter(torch.randn(b, a, 3, 3) / a)
        self.shift = nn.Parameter(torch.randn(b))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.conv2d(x, self.kernel, self.shift, padding=1, groups=self.groups))


class Standardized(nn.Conv2d):
    """A convolution whose weight is computed from its parameter."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * 0.5
        return self._conv_forward(x, weight, self.bias)


class LayerScale(nn.Module):
    """Layers on the last axis: LayerNorm, Linear without transposition, a scale for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.rand(width, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(F.gelu(self.up(self.norm(x.permute(0, 2, 3, 1)))))
        return x + self.scale * y.permute(0, 3, 1, 2)


class Twice(nn.Module):
    """One layer that is called twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer, self.other = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layer(F.relu(self.other(F.relu(self.layer(x))))))


class Tied(nn.Module):
    """Two layers with one parameter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.b(F.relu(self.a(x))))


class FixedView(nn.Module):
    """A size in forward that a cut makes wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(F.relu(self.conv(x)), 2).view(-1, 64))


class Flattened(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.Linear(16 * 4, 12)
        self.norm, self.out = nn.BatchNorm1d(12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.norm(self.fc(F.adaptive_avg_pool2d(F.relu(self.conv(x)), 2).flatten(1)))))


class Upsampling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = conv_bn(3, 12)
        self.up, self.norm = nn.ConvTranspose2d(12, 16, 2, stride=2, bias=False), nn.BatchNorm2d(16)
        self.out = nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.norm(self.up(self.body(x)))))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = conv_bn(3, 12), conv_bn(3, 12), nn.Conv2d(12, 2, 1)

    def forward(self, image: Tensor, other: Tensor) -> dict[str, Tensor]:
        both = self.left(image) * self.right(other)
        return {"map": self.out(both), "mean": self.out(both).mean((1, 2, 3))}


class Auxiliary(nn.Module):
    """A second head that is used in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.auxiliary = conv_bn(3, 16), nn.Conv2d(16, 5, 1), nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.head(y) + self.auxiliary(y) if self.training else self.head(y)


NETWORKS = {
    "residual": lambda: Head(nn.Sequential(conv_bn(3, 16), Residual(16), Residual(16), conv_bn(16, 24)), 24),
    "depthwise": lambda: Head(
        nn.Sequential(conv_bn(3, 16), conv_bn(16, 16, groups=16), Squeeze(16), nn.Conv2d(16, 24, 1), nn.ReLU6()), 24
    ),
    "grouped": lambda: Head(nn.Sequential(conv_bn(3, 16), conv_bn(16, 32, groups=4), conv_bn(32, 16, groups=2)), 16),
    "dense": lambda: Head(nn.Sequential(conv_bn(3, 12), Dense(12, 8), Dense(20, 8), Dense(28, 8)), 36),
    "group-norm": lambda: Head(
        nn.Sequential(nn.Conv2d(3, 16, 3), nn.GroupNorm(8, 16), nn.SiLU(), nn.Conv2d(16, 16, 3), nn.GroupNorm(4, 16, affine=False)),
        16,
    ),
    "instance-norm": lambda: Head(
        nn.Sequential(nn.Conv2d(3, 16, 3), nn.InstanceNorm2d(16, affine=True), nn.PReLU(16), nn.Conv2d(16, 16, 3), nn.InstanceNorm2d(16)),
        16,
    ),
    "layer-scale": lambda: Head(nn.Sequential(conv_bn(3, 16), LayerScale(16)), 16),
    "functional": lambda: Head(nn.Sequential(conv_bn(3, 16), Functional(16, 16)), 16),
    "twice": lambda: Head(nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), Twice(16)), 16),
    "tied": lambda: Head(nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), Tied(16)), 16),
    "flattened": Flattened,
    "upsampling": Upsampling,
    "three-dimensional": lambda: nn.Sequential(
        nn.Conv3d(3, 12, 3, padding=1), nn.BatchNorm3d(12), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(12, 5)
    ),
    "one-dimensional": lambda: nn.Sequential(
        nn.Conv1d(3, 12, 3), nn.BatchNorm1d(12), nn.ReLU(), nn.Conv1d(12, 8, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 5)
    ),
    "no-bias": lambda: Head(nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.ReLU(), nn.Conv2d(16, 16, 3, bias=False), nn.ReLU()), 16),
}

SHAPES = {"three-dimensional": (3, 4, 8, 8), "one-dimensional": (3, 24)}


def build(name: str) -> nn.Module:
    """Returns a module with seeded weights and BatchNorm statistics that matter."""
    torch.manual_seed(0)
    module = NETWORKS[name]()
    vary(module)
    return module


def vary(module: nn.Module) -> None:
    """Gives BatchNorm and similar layers scales, shifts and statistics other than the initial ones."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.5, 2)
        if isinstance(layer, (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)) and layer.weight is not None:
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)


def example(name: str, batch: int = 2) -> Tensor:
    """Returns seeded inputs for a module."""
    torch.manual_seed(1)
    return torch.randn(batch, *SHAPES.get(name, (3, 12, 12)))
