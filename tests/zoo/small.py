"""Small networks besides image classifiers: text, sound, signals, volumes, clips, vectors. `kinds.py` uses them."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def unit(dims, inputs, outputs, size, stride=1, dilation=1, groups=1):
    """Convolution, BatchNormalization and ReLU in 1 to 3 dimensions; keeps the size at stride 1."""
    conv, norm = {1: (nn.Conv1d, nn.BatchNorm1d), 2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}[dims]
    padding = dilation * (size - 1) // 2
    return nn.Sequential(conv(inputs, outputs, size, stride, padding, dilation, groups, bias=False), norm(outputs), nn.ReLU())


class Text(nn.Module):
    """Text recognition: convolutions reduce the height to 1, two bidirectional LSTMs read along the width."""

    def __init__(self, batch_first):
        super().__init__()
        self.batch_first = batch_first
        self.features = nn.Sequential(
            unit(2, 1, 16, 3), nn.MaxPool2d(2), unit(2, 16, 32, 3), nn.MaxPool2d(2), unit(2, 32, 48, 3),
            unit(2, 48, 48, 3), nn.MaxPool2d((2, 1)), nn.Conv2d(48, 64, (4, 1)), nn.BatchNorm2d(64), nn.ReLU())
        self.lstm = nn.LSTM(64, 32, num_layers=2, bidirectional=True, batch_first=batch_first)
        self.head = nn.Linear(64, 37)

    def forward(self, x):
        x = self.features(x).squeeze(2)
        return self.head(self.lstm(x.permute(0, 2, 1) if self.batch_first else x.permute(2, 0, 1))[0])


class Speech(nn.Module):
    """Speech commands: convolutions along time, a GRU, a classifier on its last state."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(unit(1, 40, 48, 5, 2), unit(1, 48, 64, 3, 2), unit(1, 64, 64, 3))
        self.gru = nn.GRU(64, 48, batch_first=True)
        self.head = nn.Linear(48, 12)

    def forward(self, x):
        return self.head(self.gru(self.features(x).transpose(1, 2))[1][-1])


class Voice(nn.Module):
    """Voice activity in a stream: the LSTM's states enter and leave the network."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv1d(1, 64, 32, 16), nn.ReLU(), unit(1, 64, 48, 3, 2), unit(1, 48, 32, 3, 2))
        self.lstm = nn.LSTM(32, 32, batch_first=True)
        self.head = nn.Conv1d(32, 1, 1)

    def forward(self, x, h, c):
        y, (h, c) = self.lstm(self.features(x).transpose(1, 2), (h, c))
        return torch.sigmoid(self.head(F.relu(y.transpose(1, 2)))).mean(2), h, c


class Keyword(nn.Module):
    """Keywords in raw sound: a stack of convolutions along time and a mean."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            unit(1, 1, 32, 79, 4), nn.MaxPool1d(4), unit(1, 32, 32, 3), nn.MaxPool1d(4), unit(1, 32, 64, 3), nn.MaxPool1d(4))
        self.head = nn.Linear(64, 35)

    def forward(self, x):
        return F.log_softmax(self.head(self.features(x).mean(-1)), 1)


class Wave(nn.Module):
    """WaveNet: causal dilated convolutions with gates, residuals and a sum of skips."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(1, 24, 1)
        self.gates = nn.ModuleList(nn.Conv1d(24, 48, 2, dilation=2**i) for i in range(4))
        self.residuals = nn.ModuleList(nn.Conv1d(24, 24, 1) for _ in range(4))
        self.skips = nn.ModuleList(nn.Conv1d(24, 32, 1) for _ in range(4))
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(32, 32, 1), nn.ReLU(), nn.Conv1d(32, 16, 1))

    def forward(self, x):
        x, total = self.first(x), 0
        for i, (gate, residual, skip) in enumerate(zip(self.gates, self.residuals, self.skips)):
            a, b = gate(F.pad(x, (2**i, 0))).chunk(2, 1)
            y = torch.tanh(a) * torch.sigmoid(b)
            x, total = x + residual(y), total + skip(y)
        return self.last(total)


class Temporal(nn.Module):
    """Temporal convolutional network: residual units with growing dilation."""

    def __init__(self):
        super().__init__()
        widths = [8, 32, 32, 48]
        self.units = nn.ModuleList(
            nn.Sequential(unit(1, a, b, 3, dilation=2**i), unit(1, b, b, 3, dilation=2**i))
            for i, (a, b) in enumerate(zip(widths, widths[1:])))
        self.ways = nn.ModuleList(nn.Conv1d(a, b, 1) if a != b else nn.Identity() for a, b in zip(widths, widths[1:]))
        self.head = nn.Linear(48, 10)

    def forward(self, x):
        for inner, way in zip(self.units, self.ways):
            x = F.relu(inner(x) + way(x))
        return self.head(x[:, :, -1])


class Brain(nn.Module):
    """EEGNet on two groups of electrodes: temporal, spatial and separable convolutions, concatenated."""

    def __init__(self):
        super().__init__()
        group = lambda: nn.Sequential(
            nn.Conv2d(1, 8, (1, 31), padding=(0, 15), bias=False), nn.BatchNorm2d(8),
            nn.Conv2d(8, 32, (16, 1), groups=8, bias=False), nn.BatchNorm2d(32), nn.ELU(), nn.AvgPool2d((1, 4)),
            nn.Conv2d(32, 32, (1, 15), padding=(0, 7), groups=32, bias=False), nn.Conv2d(32, 32, 1, bias=False),
            nn.BatchNorm2d(32), nn.ELU(), nn.AvgPool2d((1, 8)), nn.Flatten())
        self.left, self.right, self.head = group(), group(), nn.Linear(2 * 32 * 8, 4)

    def forward(self, left, right):
        return self.head(torch.cat([self.left(left), self.right(right)], 1))


class Residual(nn.Module):
    """Residual unit in 1-D or 2-D."""

    def __init__(self, dims, inputs, outputs, stride):
        super().__init__()
        self.inner = nn.Sequential(unit(dims, inputs, outputs, 7, stride), *unit(dims, outputs, outputs, 7)[:2])
        self.way = nn.Sequential(*unit(dims, inputs, outputs, 1, stride)[:2]) if stride > 1 else nn.Identity()

    def forward(self, x):
        return F.relu(self.inner(x) + self.way(x))


def heart():
    """ResNet of 12-lead ECGs."""
    return nn.Sequential(unit(1, 12, 24, 15, 2), Residual(1, 24, 24, 1), Residual(1, 24, 48, 2), Residual(1, 48, 48, 1),
                         nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 5), nn.Sigmoid())


class Volume(nn.Module):
    """3-D U-Net, upsampled by transposed convolutions or by interpolation."""

    def __init__(self, transposed):
        super().__init__()
        self.down = nn.ModuleList([nn.Sequential(unit(3, a, b, 3), unit(3, b, b, 3)) for a, b in ((1, 8), (8, 16), (16, 32))])
        scale = dict(scale_factor=2, mode="trilinear", align_corners=False)
        up = lambda a, b: nn.ConvTranspose3d(a, b, 2, 2) if transposed else nn.Sequential(nn.Upsample(**scale), nn.Conv3d(a, b, 1))
        self.up = nn.ModuleList([up(32, 16), up(16, 8)])
        self.join = nn.ModuleList([unit(3, 32, 16, 3), unit(3, 16, 8, 3)])
        self.head = nn.Conv3d(8, 3, 1)

    def forward(self, x):
        a = self.down[0](x)
        b = self.down[1](F.max_pool3d(a, 2))
        c = self.down[2](F.max_pool3d(b, 2))
        b = self.join[0](torch.cat([self.up[0](c), b], 1))
        return self.head(self.join[1](torch.cat([self.up[1](b), a], 1)))


class Mixer(nn.Module):
    """MLP-Mixer: products along tokens and along channels in turn."""

    def __init__(self):
        super().__init__()
        mlp = lambda n, hidden: nn.Sequential(nn.Linear(n, hidden), nn.GELU(), nn.Linear(hidden, n))
        self.stem = nn.Sequential(unit(2, 3, 24, 3), nn.Conv2d(24, 32, 8, 8))
        self.tokens = nn.ModuleList(mlp(16, 32) for _ in range(3))
        self.channels = nn.ModuleList(mlp(32, 96) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(7))
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        for i in range(3):
            x = x + self.tokens[i](self.norms[2 * i](x).transpose(1, 2)).transpose(1, 2)
            x = x + self.channels[i](self.norms[2 * i + 1](x))
        return self.head(self.norms[6](x).mean(1))


class Pool(torch.autograd.Function):
    """MaxPool with indices. PyTorch counts them in each channel and ONNX in the whole tensor; only MaxUnpool reads them."""

    @staticmethod
    def forward(_, x):
        return F.max_pool2d(x, 2, return_indices=True)

    @staticmethod
    def symbolic(g, x):
        return g.op("MaxPool", x, outputs=2, kernel_shape_i=[2, 2], strides_i=[2, 2])


class Unpool(torch.autograd.Function):
    """MaxUnpool."""

    @staticmethod
    def forward(_, x, indices):
        return torch.ops.aten.max_unpool2d(x, indices, [2 * int(n) for n in x.shape[2:]])

    @staticmethod
    def symbolic(g, x, indices):
        return g.op("MaxUnpool", x, indices, kernel_shape_i=[2, 2], strides_i=[2, 2])


class Segmenter(nn.Module):
    """SegNet: the decoder puts values where the encoder's pools found their maxima."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([unit(2, 3, 16, 3), unit(2, 16, 32, 3)])
        self.middle = unit(2, 32, 32, 3)
        self.up = nn.ModuleList([unit(2, 32, 16, 3), unit(2, 16, 16, 3)])
        self.head = nn.Conv2d(16, 5, 1)

    def forward(self, x):
        x, first = Pool.apply(self.down[0](x))
        x, second = Pool.apply(self.down[1](x))
        x = self.up[0](Unpool.apply(self.middle(x), second))
        return self.head(self.up[1](Unpool.apply(x, first)))


class LowLight(nn.Module):
    """Low-light enhancement by curves, as in Zero-DCE, for an image and a scalar exposure."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(24, 24, 3, padding=1), nn.Conv2d(24, 24, 3, padding=1)
        self.d, self.e = nn.Conv2d(48, 24, 3, padding=1), nn.Conv2d(48, 12, 3, padding=1)

    def forward(self, image, exposure):
        a = F.relu(self.a(image))
        b = F.relu(self.b(a))
        d = F.relu(self.d(torch.cat([b, F.relu(self.c(b))], 1)))
        for curve in torch.tanh(self.e(torch.cat([a, d], 1))).chunk(4, 1):
            image = image + exposure * curve * (image * image - image)
        return image


class Windows(nn.Module):
    """Swin blocks: attention in windows that are folded into the batch, the second block with shifted windows."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(unit(2, 3, 24, 3, 2), nn.Conv2d(24, 32, 3, padding=1))
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(4))
        self.qkv = nn.ModuleList(nn.Linear(32, 96) for _ in range(2))
        self.out = nn.ModuleList(nn.Linear(32, 32) for _ in range(2))
        self.mlp = nn.ModuleList(nn.Sequential(nn.Linear(32, 96), nn.GELU(), nn.Linear(96, 32)) for _ in range(2))
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        for i in range(2):
            y = torch.roll(self.norms[2 * i](x), (-2 * i, -2 * i), (1, 2))
            y = y.reshape(-1, 4, 4, 4, 4, 32).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, 32)
            q, k, v = self.qkv[i](y).reshape(-1, 16, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
            y = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(8), -1) @ v
            y = self.out[i](y.transpose(1, 2).reshape(-1, 16, 32))
            y = y.reshape(-1, 4, 4, 4, 4, 32).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, 16, 32)
            x = x + torch.roll(y, (2 * i, 2 * i), (1, 2))
            x = x + self.mlp[i](self.norms[2 * i + 1](x))
        return self.head(x.mean((1, 2)))


class Shuffle(nn.Module):
    """ShuffleNetV2 units whose shuffle puts the two halves on the first axis for a moment, as in FastestDet."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(unit(2, 3, 32, 3, 2), nn.MaxPool2d(2))
        self.units = nn.ModuleList(
            nn.Sequential(unit(2, 16, 16, 1), *unit(2, 16, 16, 3, groups=16)[:2], unit(2, 16, 16, 1)) for _ in range(3))
        self.head = nn.Conv2d(32, 7, 1)

    def forward(self, x):
        x = self.stem(x)
        for inner in self.units:
            n, c, h, w = x.shape
            halves = x.reshape(n * c // 2, 2, h * w).permute(1, 0, 2).reshape(2, -1, c // 2, h, w)
            x = torch.cat([halves[0], inner(halves[1])], 1)
        return self.head(x)


class Clip(nn.Module):
    """Action recognition: frames are folded into the batch and averaged over time."""

    def __init__(self, batched):
        super().__init__()
        self.batched = batched
        self.features = nn.Sequential(unit(2, 3, 16, 3, 2), unit(2, 16, 32, 3, 2), unit(2, 32, 32, 3), nn.AdaptiveAvgPool2d(1))
        self.hidden, self.head = nn.Linear(32, 48), nn.Linear(48, 6)

    def forward(self, x):
        y = F.relu(self.hidden(self.features(x.reshape(-1, 3, 32, 32)).flatten(1)))
        return self.head(y.reshape(-1, 8, 48).mean(1) if self.batched else y.mean(0, keepdim=True))


def vectors():
    """Multilayer perceptron on vectors of features."""
    return nn.Sequential(nn.Linear(24, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 64), nn.BatchNorm1d(64), nn.ReLU(),
                         nn.Dropout(), nn.Linear(64, 3))


class Separation(nn.Module):
    """Sound separation, as in MDX-Net: convolutions over a spectrogram, products along frequency, a mask."""

    def __init__(self):
        super().__init__()
        self.first, self.last = unit(2, 4, 24, 1), nn.Conv2d(24, 4, 1)
        self.convs = nn.ModuleList(nn.Sequential(unit(2, 24, 24, 3), unit(2, 24, 24, 3)) for _ in range(2))
        self.along = nn.ModuleList(
            nn.Sequential(nn.Linear(64, 16, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.Linear(16, 64, bias=False),
                          nn.BatchNorm2d(24), nn.ReLU()) for _ in range(2))

    def forward(self, x):
        y = self.first(x).transpose(-1, -2)
        for convs, along in zip(self.convs, self.along):
            y = convs(y)
            y = y + along(y)
        return x * torch.sigmoid(self.last(y.transpose(-1, -2)))


class Denoiser(nn.Module):
    """Speech denoiser, as Demucs: a 1-D U-Net with gates and an LSTM in the middle."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv1d(a, b, 8, 4, 2), nn.ReLU(), nn.Conv1d(b, 2 * b, 1), nn.GLU(1)) for a, b in ((1, 16), (16, 32)))
        self.lstm = nn.LSTM(32, 32)
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv1d(a, 2 * a, 1), nn.GLU(1), nn.ConvTranspose1d(a, b, 8, 4, 2)) for a, b in ((32, 16), (16, 1)))

    def forward(self, x):
        a = self.down[0](x)
        b = self.down[1](a)
        y = self.lstm(b.permute(2, 0, 1))[0].permute(1, 2, 0)
        return self.up[1](F.relu(self.up[0](y + b)) + a)


class Landmarks(nn.Module):
    """Face landmarks and pose: depthwise convolutions, PReLU, features of three scales."""

    def __init__(self):
        super().__init__()
        step = lambda a, b: nn.Sequential(*unit(2, a, a, 3, 2, groups=a)[:2], nn.PReLU(a), *unit(2, a, b, 1)[:2], nn.PReLU(b))
        self.stem, self.a, self.b = unit(2, 3, 24, 3, 2), step(24, 48), step(48, 64)
        self.points, self.pose = nn.Linear(24 + 48 + 64, 2 * 68), nn.Linear(64, 3)

    def forward(self, x):
        x = self.stem(x)
        y = self.a(x)
        z = self.b(y)
        means = [t.mean((2, 3)) for t in (x, y, z)]
        return self.points(torch.cat(means, 1)), self.pose(means[2])


class Transformer(nn.Module):
    """Spatial transformer: a small network computes the affine map by which GridSample aligns the image."""

    def __init__(self):
        super().__init__()
        self.where = nn.Sequential(unit(2, 1, 16, 3, 2), unit(2, 16, 16, 3, 2), nn.Flatten(), nn.Linear(16 * 49, 24), nn.ReLU(),
                                   nn.Linear(24, 6))
        self.what = nn.Sequential(unit(2, 1, 24, 3), nn.MaxPool2d(2), unit(2, 24, 32, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(32, 10)
        side = torch.linspace(-1, 1, 28)
        y, x = torch.meshgrid(side, side, indexing="ij")
        self.register_buffer("positions", torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3))
        self.register_buffer("identity", torch.eye(3)[:2])

    def forward(self, x):
        theta = self.identity + 0.2 * torch.tanh(self.where(x)).reshape(-1, 2, 3)
        grid = (self.positions @ theta.transpose(1, 2)).reshape(-1, 28, 28, 2)
        return self.head(self.what(F.grid_sample(x, grid, align_corners=True)))


class Dynamic(nn.Module):
    """Dynamic convolution: attention over four experts computes the weights for one image."""

    def __init__(self):
        super().__init__()
        self.stem, self.gate, self.head = unit(2, 3, 24, 3, 2), nn.Linear(24, 4), nn.Linear(32, 10)
        self.experts = nn.Parameter(torch.randn(4, 32 * 24 * 9) / 12)
        self.after = unit(2, 32, 32, 3)

    def forward(self, x):
        x = self.stem(x)
        share = torch.softmax(self.gate(x.mean((2, 3))), 1)
        x = F.relu(F.conv2d(x, (share @ self.experts).reshape(32, 24, 3, 3), padding=1))
        return self.head(self.after(x).mean((2, 3)))


class Four(nn.Module):
    """Classifier exported for exactly four images: a Reshape knows their number."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(unit(2, 3, 24, 3, 2), unit(2, 24, 32, 3, 2), unit(2, 32, 32, 3), nn.AdaptiveAvgPool2d(2))
        self.head = nn.Linear(128, 10)

    def forward(self, x):
        return self.head(self.features(x).reshape(4, 128))


class Points(nn.Module):
    """PointNet: one perceptron for each point, the maximum over points."""

    def __init__(self):
        super().__init__()
        self.each = nn.Sequential(unit(1, 3, 32, 1), unit(1, 32, 64, 1), unit(1, 64, 96, 1))
        self.head = nn.Sequential(nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 8))

    def forward(self, x):
        return self.head(self.each(x).max(2)[0])


class Tracker(nn.Module):
    """Siamese tracker: two images through shared weights, their features correlated."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(unit(2, 3, 16, 3, 2), unit(2, 16, 32, 3, 2), nn.Conv2d(32, 32, 3, padding=1))
        self.head = nn.Sequential(unit(2, 32, 24, 1), nn.Conv2d(24, 5, 1))

    def forward(self, template, scene):
        template = self.features(template).mean((2, 3), keepdim=True)
        return self.head(template * self.features(scene))
