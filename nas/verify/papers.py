"""A slow reference: the network written once more, straight from the papers, as arithmetic on a state dict.

It knows the names of the weights and the knobs' words, and neither the plan nor any module of ours.
"""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.architecture import Architecture, Stage


class Reference:
    """The network of an architecture in evaluation mode."""

    def __init__(self, architecture: Architecture, state: dict[str, Tensor]):
        self.a, self.state = architecture, state
        self.owner = ""             # the block whose convolutions the block at hand uses

    def __call__(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, classes)."""
        x = self._stem(x)
        within, means = "memory." if self.a.memory else "", []
        for number, stage in enumerate(self.a.stages, 1):
            shape = x.shape
            for block in range(1, stage.depth + 1):
                stride = 2 if number > 1 and block == 1 else 1
                alike = 1 if number == 1 and shape[1] == stage.width else 2     # the first block of the common shape
                self.owner = f"block{alike}" if stage.share == "stage" and block > alike else ""
                x = self._block(x, stage, stride, f"{within}stage{number}.block{block}")
                means.append(x.flatten(2).mean(2))
        if self.a.order == "pre":
            x = self._act(self._norm(x, f"{within}final.norm"))
        pooled = x.flatten(2).sum(2) / (x.shape[2] * x.shape[3])
        if self.a.memory:
            pooled = torch.cat([pooled, self._remembered(means)], 1)
        return pooled @ self.state["head.linear.weight"].T + self.state["head.linear.bias"]

    def _stem(self, x: Tensor) -> Tensor:
        if self.a.stem.startswith("patch"):
            side = int(self.a.stem[-1])
            return self._norm(self._conv(x, "stem.conv", side, padding=0), "stem.norm")
        large = self.a.stem == "conv7x7_pool"
        x = self._conv(x, "stem.conv", 2 if large else 1)
        if self.a.order == "post":
            x = self._act(self._norm(x, "stem.norm"))
        if large:
            x = F.pad(x, (1, 1, 1, 1), value=-torch.inf).unfold(2, 3, 2).unfold(3, 3, 2).amax((-1, -2))
        return x

    def _remembered(self, means: list[Tensor]) -> Tensor:
        """The last state of an LSTM over the means, those of narrow stages filled up with zeros."""
        weights = {key: self.state[f"memory.cell.{key}"] for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        width = max(stage.width for stage in self.a.stages)
        h = c = means[0].new_zeros(len(means[0]), self.a.memory)
        for mean in means:
            x = torch.cat([mean, mean.new_zeros(len(mean), width - mean.shape[1])], 1)
            both = x @ weights["weight_ih"].T + weights["bias_ih"] + h @ weights["weight_hh"].T + weights["bias_hh"]
            i, f, g, o = torch.split(both, self.a.memory, 1)
            c = _sigmoid(f) * c + _sigmoid(i) * torch.tanh(g)
            h = _sigmoid(o) * torch.tanh(c)
        return h

    def _block(self, x: Tensor, stage: Stage, stride: int, name: str) -> Tensor:
        pre = self.a.order == "pre"
        size = [-(-side // stride) for side in x.shape[2:]]
        changes = [*x.shape[1:]] != [stage.width, *size]
        projected = self.a.shortcut == "C" or (changes and self.a.shortcut == "B")
        shared = pre and (changes or self.a.shortcut == "C") and self.a.shortcut != "none"
        u = self._act(self._norm(x, f"{name}.pre.norm")) if shared else x
        y = self._branch(u, stage, stride, f"{name}.branch", shared) * self._alpha(stage)
        if self.a.shortcut == "none":
            s = None
        elif projected:
            s = self._conv(u, f"{name}.shortcut.conv", stride)
            s = s if pre else self._norm(s, f"{name}.shortcut.norm")
        elif changes:
            sampled = u[:, :, ::stride, ::stride]
            zeros = torch.zeros_like(sampled[:, :1]).expand(-1, stage.width - u.shape[1], -1, -1)
            s = torch.cat([sampled, zeros], 1)
        else:
            s = u
        y = y if s is None else self._sum(s, y, stage, f"{name}.gate")
        return y if pre or stage.block in ("inverted", "convnext") else self._act(y)

    def _alpha(self, stage: Stage) -> float:
        if stage.residual_scaling == "1/sqrt(L)":
            return 1 / math.sqrt(sum(one.depth for one in self.a.stages))
        return 1 / math.sqrt(stage.branches) if stage.residual_scaling == "1/sqrt(k)" else float(stage.residual_scaling)

    def _sum(self, s: Tensor, y: Tensor, stage: Stage, name: str) -> Tensor:
        def gate(which: str) -> Tensor:
            return _sigmoid(self._conv(s, f"{name}.{which}", 1))

        if stage.gate == "highway":
            t = gate("transform")
            return s * (1 - t) + y * t
        y = y * gate("transform") if stage.gate in {"transform", "full"} else y
        return s * gate("carry") + y if stage.gate in {"carry", "full"} else s + y

    def _branch(self, x: Tensor, stage: Stage, stride: int, name: str, shared: bool) -> Tensor:
        if stage.branches > 1:
            terms = [self._function(x, stage, stride, f"{name}.sum.f{k}", shared)
                     for k in range(1, stage.branches + 1)]
            y = torch.stack(terms).sum(0)
        else:
            y = self._function(x, stage, stride, name, shared)
        if stage.attention == "eca":
            y = self._attended(y, f"{name}.eca.conv.weight")
        elif stage.se_ratio:
            y = self._excited(y, f"{name}.se")
        gained = stage.gain in {"skipinit", "layerscale"}
        return y * self.state[f"{name}.gain.factor"][:, None, None] if gained else y

    def _function(self, x: Tensor, stage: Stage, stride: int, name: str, shared: bool) -> Tensor:
        if stage.block == "convnext":
            x = self._norm(self._conv(x, f"{name}.depthwise", stride, x.shape[1]), f"{name}.norm")
            return self._conv(self._act(self._conv(x, f"{name}.expand", 1)), f"{name}.project", 1)
        if stage.mixing != "none":
            return self._mixed(x, stage, stride, f"{name}.mixing", shared)
        wide = stage.block != "basic"
        striding = 2 if wide and self.a.stride_in == "conv3x3" else 1
        for number in range(1, stage.shortcut_depth + 1):
            grouped = wide and 1 < number < stage.shortcut_depth
            inner = self.state[f"{self._lent(name)}.conv{number}.weight"].shape[0]
            x = self._step(x, stage, name, number, shared, stride if number == striding else 1,
                           (stage.cardinality or inner) if grouped else 1, stage.dilation)
        return x

    def _mixed(self, x: Tensor, stage: Stage, stride: int, name: str, shared: bool) -> Tensor:
        a = b = x
        for number in range(1, stage.shortcut_depth + 1):
            if number > 1:
                half = stage.width // 2
                a, b = torch.cat([a[:, :half], b[:, half:]], 1), torch.cat([b[:, :half], a[:, half:]], 1)
            here = stride if number == 1 else 1
            one, two = (1, 2) if number % 2 else (2, 1)
            a = self._step(a, stage, f"{name}.a{number}", number, shared, here, 1, one)
            b = self._step(b, stage, f"{name}.b{number}", number, shared, here, 1, two)
        return a + b

    def _step(self, x: Tensor, stage: Stage, name: str, number: int, shared: bool, stride: int, groups: int,
              dilation: int) -> Tensor:
        if self.a.order == "pre" and not (shared and number == 1):
            x = self._act(self._norm(x, f"{name}.norm{number}"))
        x = self._conv(x, f"{name}.conv{number}", stride, groups, dilation)
        if self.a.order == "post":
            x = self._norm(x, f"{name}.norm{number}")
            x = self._act(x) if number < stage.shortcut_depth else x
        return x

    def _attended(self, x: Tensor, name: str) -> Tensor:
        """Each channel by the sigmoid of a sum over its neighbours' means; beyond the ends there is nothing."""
        weight = self.state[name].flatten()
        reach, means = len(weight) // 2, x.flatten(2).mean(2)
        padded = F.pad(means, (reach, reach))
        logits = torch.stack([(padded[:, c:c + len(weight)] * weight).sum(1) for c in range(x.shape[1])], 1)
        return x * _sigmoid(logits)[:, :, None, None]

    def _excited(self, x: Tensor, name: str) -> Tensor:
        rows = []
        for image in x:
            means = torch.stack([channel.mean() for channel in image])
            hidden = (self.state[f"{name}.squeeze.weight"] @ means + self.state[f"{name}.squeeze.bias"]).clamp(min=0)
            scale = self.state[f"{name}.excite.weight"] @ hidden + self.state[f"{name}.excite.bias"]
            rows.append(torch.stack([c * _sigmoid(g) for c, g in zip(image, scale, strict=True)]))
        return torch.stack(rows)

    def _lent(self, name: str) -> str:
        """Where the weights of a convolution lie: those of a branch of a shared stage with the owner."""
        return re.sub(r"block[0-9]+", self.owner, name) if self.owner and ".branch" in name else name

    def _conv(self, x: Tensor, name: str, stride: int, groups: int = 1, dilation: int = 1,
              padding: int | None = None) -> Tensor:
        weight, bias = self.state[f"{self._lent(name)}.weight"], self.state.get(f"{self._lent(name)}.bias")
        around = dilation * (weight.shape[-1] // 2) if padding is None else padding
        return F.conv2d(x, weight, bias, stride, around, dilation, groups)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        if self.a.norm == "none":
            return x
        weight, bias = (self.state[f"{name}.{key}"][:, None, None] for key in ("weight", "bias"))
        if self.a.norm == "batch":
            mean, var = (self.state[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var"))
            return (x - mean) / (var + 1e-5) ** 0.5 * weight + bias
        if self.a.norm == "layer":
            mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
            return (x - mean) / (var + 1e-6) ** 0.5 * weight + bias
        size = 16 if x.shape[1] % 16 == 0 else x.shape[1]
        parts = [part - part.mean((1, 2, 3), keepdim=True) for part in torch.split(x, size, 1)]
        parts = [part / (part.square().mean((1, 2, 3), keepdim=True) + 1e-5) ** 0.5 for part in parts]
        return torch.cat(parts, 1) * weight + bias

    def _act(self, x: Tensor) -> Tensor:
        match self.a.activation:
            case "relu":
                return x.clamp(min=0)
            case "silu":
                return x * _sigmoid(x)
            case "gelu":
                return x * (1 + torch.erf(x / math.sqrt(2))) / 2
            case "crelu":
                pairs = [y.clamp(min=0) for channel in torch.split(x, 1, 1) for y in (channel, -channel)]
                return torch.cat(pairs, 1)
            case _:
                return x


def _sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))
