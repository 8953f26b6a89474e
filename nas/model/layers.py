"""The layers of residual networks that torch does not have, and how they start. Needs only torch.

An exported network carries a copy of this file's code, so nothing here may import the rest of the package.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """y = post(s C + alpha F(u) T), u = pre(x), s = shortcut(u); T and C are the gate's, 1 where there is none.

    drop: the share of images whose branch is left out while training; the others' are divided by 1 - drop.
    """

    def __init__(
        self,
        branch: nn.Module,
        shortcut: nn.Module | None = None,
        pre: nn.Module | None = None,
        post: nn.Module | None = None,
        gate: nn.Module | None = None,
        scale: float = 1.0,
        drop: float = 0.0,
    ):
        super().__init__()
        self.pre, self.branch, self.shortcut, self.gate, self.post = pre, branch, shortcut, gate, post
        self.scale, self.drop = scale, drop

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        u = x if self.pre is None else self.pre(x)
        y: Tensor = self.branch(u)
        if self.scale != 1:
            y = y * self.scale
        if self.drop and self.training:
            kept = 1 - self.drop
            y = y * y.new_empty(len(y), 1, 1, 1).bernoulli_(kept).div_(kept)
        if self.shortcut is not None:
            s = self.shortcut(u)
            y = s + y if self.gate is None else self.gate(s, y)
        return y if self.post is None else self.post(y)


class Gate(nn.Module):
    """y = s C + f T, with T = sigmoid(transform(s)), C = sigmoid(carry(s)); highway: C = 1 - T."""

    def __init__(self, kind: str, transform: nn.Module | None = None, carry: nn.Module | None = None):
        super().__init__()
        self.kind, self.transform, self.carry = kind, transform, carry

    def forward(self, s: Tensor, f: Tensor) -> Tensor:
        """Two tensors of shape (N, C, H, W) to one."""
        if self.transform is not None:
            t = torch.sigmoid(self.transform(s))
            f = f * t
            if self.kind == "highway":
                s = s * (1 - t)
        if self.carry is not None:
            s = s * torch.sigmoid(self.carry(s))
        return s + f


class SqueezeExcitation(nn.Module):
    """x sigmoid(W2 relu(W1 mean(x))), channel by channel (Hu et al. 2018, equations 2 to 4)."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        scale = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return x * scale[:, :, None, None]


class ChannelAttention(nn.Module):
    """x sigmoid(conv(mean(x))), a convolution over neighbouring channels (ECA; Wang et al. 2020, equation 12)."""

    def __init__(self, kernel: int):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        scale = torch.sigmoid(self.conv(x.mean((2, 3))[:, None]))       # (N, 1, C)
        return x * scale[:, 0, :, None, None]


class Gain(nn.Module):
    """A learned factor from `init`: one for all (SkipInit, ReZero), or one a channel (LayerScale)."""

    def __init__(self, numbers: int, init: float):
        super().__init__()
        self.factor = nn.Parameter(torch.full((numbers,), init))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return x * self.factor[:, None, None]


class CReLU(nn.Module):
    """relu(x) and relu(-x) of every channel, side by side: groups of channels stay groups (Shang et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 2 C, H, W)."""
        return torch.stack((F.relu(x), F.relu(-x)), 2).flatten(1, 2)


class Sum(nn.Module):
    """The sum of several functions of one input."""

    def __init__(self, **branches: nn.Module):
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        first, *others = self.children()
        y: Tensor = first(x)
        for branch in others:
            y = y + branch(x)
        return y


class Mixing(nn.Module):
    """Two branches, a1 a2 ... and b1 b2 ..., that swap the second half of their channels between steps; their sum."""

    def __init__(self, **steps: nn.Module):
        super().__init__()
        for name, step in steps.items():
            self.add_module(name, step)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        steps = list(self.children())
        a, b = steps[0](x), steps[1](x)
        for left, right in zip(steps[2::2], steps[3::2], strict=True):
            half = a.shape[1] // 2
            a, b = torch.cat((a[:, :half], b[:, half:]), 1), torch.cat((b[:, :half], a[:, half:]), 1)
            a, b = left(a), right(b)
        y: Tensor = a + b
        return y


class Borrowed(nn.Module):
    """Another block's layer once more; `Unrolled` says whose."""

    def __init__(self) -> None:
        super().__init__()
        self.lender: list[nn.Module] = []       # in a list, as its weights are not this module's

    def forward(self, x: Tensor) -> Tensor:
        """As the lender."""
        y: Tensor = self.lender[0](x)
        return y


class Unrolled(nn.Sequential):
    """Blocks of which those with borrowed layers use the `owner`'s: a recurrent network unrolled in depth."""

    def __init__(self, owner: str, **blocks: nn.Module):
        super().__init__()
        for name, block in blocks.items():
            self.add_module(name, block)
            for path, layer in block.named_modules():
                if isinstance(layer, Borrowed):
                    layer.lender = [self.get_submodule(f"{owner}.{path}")]


class Memory(nn.Module):
    """Stages of blocks, and an LSTM over the means of what each block puts out, in order (Moniz and Pal 2016).

    Means of fewer than `width` channels are filled up with zeros. What comes out is the last mean and the last state.
    """

    def __init__(self, width: int, hidden: int, **stages: nn.Module):
        super().__init__()
        self.width = width
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.cell = nn.LSTMCell(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C' + hidden, 1, 1)."""
        state = None
        for name, stage in self.named_children():
            if name.startswith("stage"):
                for block in stage.children():
                    x = block(x)
                    mean = x.mean((2, 3))
                    state = self.cell(F.pad(mean, (0, self.width - mean.shape[1])), state)
            elif name != "cell":
                x = stage(x)
        assert state is not None
        return torch.cat((x.mean((2, 3)), state[0].to(x.dtype)), 1)[:, :, None, None]


class PadShortcut(nn.Module):
    """Strided sampling, then `extra` channels of zeros (He et al. 2015, option A)."""

    def __init__(self, stride: int, extra: int):
        super().__init__()
        self.stride, self.extra = stride, extra

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C + extra, H / stride, W / stride)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


class Head(nn.Module):
    """Global average pooling and a linear classifier. init looks_linear: behind a CReLU."""

    def __init__(self, channels: int, classes: int, init: str = ""):
        super().__init__()
        self.linear = nn.Linear(channels, classes)
        if init == "looks_linear":
            look_linear(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, classes)."""
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


class LayerNorm(nn.Module):
    """Normalisation over the channels of each place (Liu et al. 2022)."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        y = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6)
        return y.permute(0, 3, 1, 2)


def norm(kind: str, channels: int, scale: float = 1.0) -> nn.Module:
    """Batch, group (of 16 channels; all in one where that does not divide) or layer normalisation from `scale`."""
    layer: nn.BatchNorm2d | nn.GroupNorm | LayerNorm
    if kind == "batch":
        layer = nn.BatchNorm2d(channels)
    elif kind == "group":
        layer = nn.GroupNorm(channels // 16 if channels % 16 == 0 else 1, channels)
    else:
        layer = LayerNorm(channels)
    nn.init.constant_(layer.weight, scale)
    return layer


def sequence(**children: nn.Module) -> nn.Sequential:
    """The layers by name, one after the other."""
    result = nn.Sequential()
    for name, layer in children.items():
        result.add_module(name, layer)
    return result


class SampledConv(nn.Conv2d):
    """A strided 1x1 convolution that samples first and then convolves without stride: the same function.

    With fewer input channels than oneDNN's block (8 or 16), the weight gradient of torch's own is wrong or corrupts
    memory in channels_last on CPUs (uxlfoundation/oneDNN issue 6035; seen in torch 2.13 with 4 channels).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / stride, W / stride)."""
        rows, columns = self.stride
        return F.conv2d(x[:, :, ::rows, ::columns], self.weight, self.bias, groups=self.groups)


def conv(
    channels: int,
    out: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
    bias_init: float = 0.0,
    dilation: int = 1,
    init: str = "he",
    rectified: bool = True,
    patch: bool = False,
) -> nn.Conv2d:
    """A convolution that keeps the resolution but for its stride, its bias at `bias_init`; patch: without padding.

    init: he (He et al. 2015, fan-out), xavier (Glorot and Bengio 2010), orthogonal (Saxe et al. 2014) or looks_linear
    (Balduzzi et al. 2017). rectified: what goes in comes out of a rectifier, which has halved its energy.
    """
    kind = SampledConv if kernel == 1 and stride > 1 and channels < 16 else nn.Conv2d
    padding = 0 if patch else dilation * (kernel // 2)
    layer = kind(channels, out, kernel, stride, padding, dilation, groups, bias)
    if init == "he":
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu" if rectified else "linear")
    elif init == "xavier":
        nn.init.xavier_normal_(layer.weight)
    elif init == "orthogonal":
        nn.init.orthogonal_(layer.weight, 2**0.5 if rectified else 1.0)
    else:
        look_linear(layer.weight)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias_init)
    return layer


@torch.no_grad()
def look_linear(weight: Tensor) -> None:
    """W' and -W' of channels side by side, W' orthogonal: behind a CReLU a linear map (Balduzzi et al. 2017, 4.2)."""
    half = nn.init.orthogonal_(torch.empty_like(weight[:, ::2]))
    weight[:, ::2], weight[:, 1::2] = half, -half
