"""The layers of residual networks that torch does not have, and how they start. Needs only torch.

An exported network carries a copy of this file's code, so nothing here may import the rest of the package.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """y = post(s C + alpha F(u) T), u = pre(x), s = shortcut(u); T and C are the gate's, 1 where there is none."""

    def __init__(
        self,
        branch: nn.Module,
        shortcut: nn.Module | None = None,
        pre: nn.Module | None = None,
        post: nn.Module | None = None,
        gate: nn.Module | None = None,
        scale: float = 1.0,
    ):
        super().__init__()
        self.pre, self.branch, self.shortcut, self.gate, self.post = pre, branch, shortcut, gate, post
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        u = x if self.pre is None else self.pre(x)
        y: Tensor = self.branch(u)
        if self.scale != 1:
            y = y * self.scale
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


class PadShortcut(nn.Module):
    """Strided sampling, then `extra` channels of zeros (He et al. 2015, option A)."""

    def __init__(self, stride: int, extra: int):
        super().__init__()
        self.stride, self.extra = stride, extra

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C + extra, H / stride, W / stride)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


class Head(nn.Module):
    """Global average pooling and a linear classifier."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, classes)."""
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


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
    channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False, bias_init: float = 0.0
) -> nn.Conv2d:
    """A convolution with padding kernel // 2, weights by He et al. 2015 (fan-out), its bias at `bias_init`."""
    kind = SampledConv if kernel == 1 and stride > 1 and channels < 16 else nn.Conv2d
    layer = kind(channels, out, kernel, stride, kernel // 2, groups=groups, bias=bias)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias_init)
    return layer
