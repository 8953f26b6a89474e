"""A verdict can fail: each knob is broken on purpose, and the checks of its system see it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import nas
from nas import blocks, levels, plan, regnet
from nas.architecture import Stage
from nas.diagnosis.valves import Valves
from nas.model import layers
from nas.nodes import ChannelAttention, Gain, Identity, Sequence, chain
from nas.train import multilevel
from nas.verify import counts, networks
from nas.verify.claims import Tier
from nas.verify.running import Result, _asked
from nas.verify.systems import SYSTEMS

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]


def forget() -> None:
    """Parts of plans are remembered, whole or broken."""
    for module in (importlib.import_module(f"nas.{one.name}") for one in pkgutil.iter_modules(nas.__path__)
                   if one.name in {"architecture", "blocks", "cost", "levels", "plan", "regnet"}):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


@pytest.fixture(autouse=True)
def unbroken() -> Iterator[None]:
    forget()
    yield
    forget()


def first_failure(system: str, tier: Tier) -> Result | None:
    """Of the system's checks, those of large networks last."""
    checks = sorted(SYSTEMS[system], key=lambda check: "MACs" in check.claim or "by plan" in check.claim)
    found = (_asked(system, check, None) for check in checks if check.tier == tier)
    return next((result for result in found if result.verdict == "FAIL"), None)


def seen(result: Result | None) -> None:
    """A verdict failed, and not because the mutant itself does not run."""
    assert result is not None
    assert not str(result.finding.measured).startswith(("TypeError", "AttributeError", "NameError", "ImportError"))


# --- what a module computes -------------------------------------------------------------------------------------------

def block(change: str) -> Mutant:
    """`Residual.forward` with one thing wrong."""
    def forward(self: layers.Residual, x: Tensor) -> Tensor:
        u = x if self.pre is None else self.pre(x)
        y = self.branch(u)
        y = y if change == "alpha" else y * self.scale
        if self.drop and (self.training or change == "always"):
            kept = 1 - self.drop
            mask = y.new_empty(len(y), 1, 1, 1).bernoulli_(kept)
            y = y * (mask if change == "rescale" else mask / kept)
        if self.shortcut is not None and change != "shortcut":
            s = self.shortcut(u)
            if change == "scaled shortcut":
                s = s * self.scale
            y = s + y if self.gate is None or change == "gate" else self.gate(s, y)
        if change == "norm":
            y = F.layer_norm(y, y.shape[1:])
        return y if self.post is None or change == "post" else self.post(y)

    return lambda patch: patch.setattr(layers.Residual, "forward", forward)


def gate(change: str) -> Mutant:
    def forward(self: layers.Gate, s: Tensor, f: Tensor) -> Tensor:
        whole = s
        if self.transform is not None:
            t = torch.sigmoid(self.transform(f if change == "reads F" else s))
            f = f * t
            if self.kind == "highway":
                s = s * {"not complementary": 1.0, "reversed": t}.get(change, 1 - t)
        if self.carry is not None and change != "no carry":
            s = s * torch.sigmoid(self.carry(whole))
        return s + f

    return lambda patch: patch.setattr(layers.Gate, "forward", forward)


def forward_of(kind: type[nn.Module], forward: Callable[..., Tensor]) -> Mutant:
    return lambda patch: patch.setattr(kind, "forward", forward)


def unexcited(self: layers.SqueezeExcitation, x: Tensor) -> Tensor:
    """Without the rectifier."""
    return x * torch.sigmoid(self.excite(self.squeeze(x.mean((2, 3)))))[:, :, None, None]


def unswapped(self: layers.Mixing, x: Tensor) -> Tensor:
    steps = list(self.children())
    a, b = steps[0](x), steps[1](x)
    for left, right in zip(steps[2::2], steps[3::2], strict=True):
        a, b = left(a), right(b)
    return a + b


def unfed(self: layers.Memory, x: Tensor) -> Tensor:
    """The LSTM sees the last block alone."""
    for name, stage in self.named_children():
        if name != "cell":
            x = stage(x)
    mean = x.mean((2, 3))
    state = self.cell(F.pad(mean, (0, self.width - mean.shape[1])))
    return torch.cat((mean, state[0]), 1)[:, :, None, None]


def forgetful(self: layers.Memory, x: Tensor) -> Tensor:
    """Its state does not reach the classifier."""
    y = MEMORY(self, x)
    return torch.cat((y[:, :-self.cell.hidden_size], 0 * y[:, -self.cell.hidden_size:]), 1)


MEMORY, SUM, UNROLLED = layers.Memory.forward, layers.Sum.__init__, layers.Unrolled.__init__


def one_norm(patch: Patch) -> None:
    """Functions of a sum share the norms of the first."""
    def made(self: layers.Sum, **branches: nn.Module) -> None:
        SUM(self, **branches)
        first, *others = self.children()
        for branch in others:
            for name, child in first.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(branch, name, child)

    patch.setattr(layers.Sum, "__init__", made)


def shared_norms(patch: Patch) -> None:
    """A stage of shared blocks shares its norms, too."""
    def made(self: layers.Unrolled, owner: str, **parts: nn.Module) -> None:
        UNROLLED(self, owner, **parts)
        lender = self.get_submodule(f"{owner}.branch")
        for one in list(self.children())[[*parts].index(owner) + 1:]:
            for name, child in lender.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(one.get_submodule("branch"), name, child)

    patch.setattr(layers.Unrolled, "__init__", made)


def conv_with(**forced: object) -> Mutant:
    """Every convolution with arguments of its own."""
    real = layers.conv

    def conv(channels: int, out: int, kernel: int, **options: Any) -> nn.Conv2d:
        changed = {name: value(options.get(name)) if callable(value) else value for name, value in forced.items()}
        return real(channels, out, kernel, **{**options, **changed})

    return lambda patch: patch.setattr(layers, "conv", conv)


def alike(weight: Tensor) -> None:
    with torch.no_grad():
        half = nn.init.orthogonal_(torch.empty_like(weight[:, ::2]))
        weight[:, ::2], weight[:, 1::2] = half, half


def norm_from_one(patch: Patch) -> None:
    real = layers.norm
    patch.setattr(layers, "norm", lambda kind, channels, scale=1.0: real(kind, channels))


def module_with(kind: type[nn.Module], **forced: object) -> Mutant:
    """Modules of that kind made with other arguments."""
    real = kind.__init__

    def made(self: nn.Module, *arguments: Any, **options: Any) -> None:
        changed = {name: value for name, value in forced.items() if name in options or name != "drop"}
        names = {"init": 1}
        given = list(arguments)
        for name in list(changed):
            if name in names and len(given) > names[name]:
                given[names[name]] = changed.pop(name)
        real(self, *given, **{**options, **changed})

    return lambda patch: patch.setattr(kind, "__init__", made)


# --- how knobs become a plan ------------------------------------------------------------------------------------------

def wired(change: Callable[[Sequence], Sequence]) -> Mutant:
    """The plan changed as a whole."""
    real = networks.plan
    return lambda patch: patch.setattr(networks, "plan", lambda *arguments: change(real(*arguments)))


def without_final(made: Sequence) -> Sequence:
    return replace(made, layers=tuple(layer for layer in made.layers if layer[0] != "final"))


def early_excitation(patch: Patch) -> None:
    """SE before the last norm of the branch."""
    real = plan._branch

    def branch(*arguments: Any) -> Sequence:
        made = list(real(*arguments).layers)
        names = [name for name, _ in made]
        if "se" in names:
            made.insert(names.index("se") - 1, made.pop(names.index("se")))
        return chain(made)

    patch.setattr(plan, "_branch", branch)


def shortcut_of(change: Callable[..., tuple[Any, ...]]) -> Mutant:
    """The arguments of `_shortcut`: style, kind, shape, same, out, stride, split."""
    real = plan._shortcut
    return lambda patch: patch.setattr(plan, "_shortcut", lambda *arguments: real(*change(*arguments)))


def identity_in_plain(patch: Patch) -> None:
    real = plan._shortcut
    patch.setattr(plan, "_shortcut", lambda style, kind, shape, same, *rest: (
        Identity(shape) if kind == "none" and same else real(style, kind, shape, same, *rest)))


def kind_with(name: str, **knobs: object) -> Mutant:
    """Blocks of a kind with another stage's knobs."""
    real = blocks.BLOCKS[name]
    return lambda patch: patch.setitem(blocks.BLOCKS, name, replace(real, wire=lambda inside: real.wire(
        replace(inside, stage=replace(inside.stage, **knobs)))))


def small_gates(patch: Patch) -> None:
    real = plan._gate
    patch.setattr(plan, "_gate", lambda style, kind, shape, kernel, bias: real(style, kind, shape, 1, bias))


def strides_first(patch: Patch) -> None:
    real = blocks._convolutions
    patch.setattr(blocks, "_convolutions", lambda inside, listed, striding: real(inside, listed, 0))


def stage_property(name: str, value: Callable[[Stage], int]) -> Mutant:
    return lambda patch: patch.setattr(Stage, name, property(value))


def factor_with(change: Callable[..., tuple[Any, ...]]) -> Mutant:
    real = plan.factor
    return lambda patch: patch.setattr(plan, "factor", lambda *arguments: real(*change(*arguments)))


def one_gain(patch: Patch) -> None:
    patch.setattr(plan, "Gain", lambda out, by_channel, start: Gain(out, False, start))


def sees_shortcuts(patch: Patch) -> None:
    """The effective depth weighs shortcuts as it does branches."""
    def kept(self: Valves, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name == "branch" and hasattr(self, "shortcut"):
            object.__setattr__(self, "shortcut", list(value))

    patch.setattr(Valves, "__setattr__", kept)


def round_down(patch: Patch) -> None:
    patch.setattr(regnet, "round", int, raising=False)


def unfitted(patch: Patch) -> None:
    """RegNet widths that are not quantised by w_m."""
    patch.setattr(regnet, "round", lambda x: x if 0 < x < 9 else round(x), raising=False)


def unhalved(patch: Patch) -> None:
    patch.setattr(levels, "_coarse", lambda stage, factor: replace(stage, depth=-(-stage.depth // factor)))


def not_copied(patch: Patch) -> None:
    patch.setattr(counts, "grow", lambda small, large: multilevel.grow(small, large, copies=False))


MUTANTS: dict[str, tuple[str, Mutant]] = {      # what is broken: whose checks see it, and how
    "alpha ignored": ("inception_resnet_scaling", block("alpha")),
    "alpha ignored in the plan": ("inception_resnet_scaling", factor_with(lambda a, n, k: (1.0, n, k))),
    "alpha on the shortcut too": ("inception_resnet_scaling", block("scaled shortcut")),
    "1/sqrt(L) of a third of the blocks": ("inception_resnet_scaling", factor_with(lambda a, n, k: (a, n / 3, k))),
    "1/sqrt(k) forgets k": ("multi_residual", factor_with(lambda a, n, k: (a, n, 1))),
    "a norm on the sum": ("inception_resnet_scaling", block("norm")),
    "no ReLU after the sum": ("preact_resnet", block("post")),
    "no shortcut": ("lesion", block("shortcut")),
    "a shortcut in plain networks": ("resnet", identity_in_plain),
    "gate ignored": ("highway", block("gate")),
    "gate not complementary": ("highway", gate("not complementary")),
    "gate reversed": ("highway", gate("reversed")),
    "gate reads the branch": ("highway", gate("reads F")),
    "no carry gate": ("highway", gate("no carry")),
    "gate bias ignored": ("highway", conv_with(bias_init=0.0)),
    "gate kernel ignored": ("highway", small_gates),
    "gate bias reversed": ("highway", conv_with(bias_init=lambda bias: -(bias or 0.0))),
    "grouped convolution ungrouped": ("resnext", conv_with(groups=1)),
    "base width without its quarter": ("resnext", stage_property("inner_width", lambda s: (
        s.width if s.block == "basic" else s.width * (s.base_width or 64) // 64 * max(1, s.cardinality)))),
    "weights not shared": ("recurrent_resnet", lambda patch: patch.setattr(plan, "_lent", lambda branch: branch)),
    "norms shared too": ("recurrent_resnet", shared_norms),
    "one branch of k": ("multi_residual", forward_of(layers.Sum, lambda self, x: next(self.children())(x))),
    "k branches share their norms": ("multi_residual", one_norm),
    "SE before the norm": ("se_resnet", early_excitation),
    "SE without its ReLU": ("se_resnet", forward_of(layers.SqueezeExcitation, unexcited)),
    "SE that does nothing": ("se_resnet", forward_of(layers.SqueezeExcitation, lambda self, x: x)),
    "SE rounded up to 8": ("se_resnet", stage_property("se_hidden", lambda s: (
        -(-int(s.width * s.se_ratio) // 8) * 8 if s.se_ratio else 0))),
    "shortcut A averages": ("resnet", forward_of(layers.PadShortcut, lambda self, x: F.pad(
        F.avg_pool2d(x, self.stride, ceil_mode=True), (0, 0, 0, 0, 0, self.extra)))),
    "shortcut A without zeros": ("resnet", forward_of(layers.PadShortcut, lambda self, x: (
        y := x[:, :, ::self.stride, ::self.stride].repeat(1, 3, 1, 1))[:, :x.shape[1] + self.extra] + 0 * y[:, :1])),
    "shortcut A does not stride": ("resnet", forward_of(layers.PadShortcut, lambda self, x: F.pad(
        x, (0, 0, 0, 0, 0, self.extra)))),
    "shortcut A projects": ("resnet", shortcut_of(lambda style, kind, *rest: (
        style, "B" if kind == "A" else kind, *rest))),
    "shortcut C where shapes change alone": ("resnet", shortcut_of(lambda style, kind, *rest: (
        style, "B" if kind == "C" else kind, *rest))),
    "a norm on the projection": ("preact_resnet", shortcut_of(lambda style, *rest: (
        replace(style, order="post"), *rest))),
    "pre-activation without final norm": ("preact_resnet", wired(without_final)),
    "bottleneck strides in its first": ("resnet", strides_first),
    "two convolutions, whatever n": ("n_shortcut", kind_with("basic", shortcut_depth=2)),
    "one convolution, whatever n": ("n_shortcut", kind_with("basic", shortcut_depth=1)),
    "no dropout": ("wide_resnet", kind_with("basic", dropout=0.0)),
    "dropout not rescaled": ("wide_resnet", forward_of(
        nn.Dropout, lambda self, x: F.dropout(x, self.p, self.training) * (1 - self.p if self.training else 1))),
    "dropout always on": ("wide_resnet", forward_of(nn.Dropout, lambda self, x: F.dropout(x, self.p, True))),
    "stochastic depth not rescaled": ("stochastic_depth", block("rescale")),
    "stochastic depth always on": ("stochastic_depth", block("always")),
    "the same drop rate in all blocks": ("stochastic_depth", module_with(layers.Residual, drop=0.5)),
    "zero-gamma not zero": ("zero_gamma", norm_from_one),
    "SkipInit from one": ("skipinit", module_with(layers.Gain, init=1.0)),
    "LayerScale from one": ("layerscale", module_with(layers.Gain, init=1.0)),
    "one LayerScale for all channels": ("layerscale", one_gain),
    "memory fed by the last block alone": ("residual_memory", forward_of(layers.Memory, unfed)),
    "memory that the classifier does not see": ("residual_memory", forward_of(layers.Memory, forgetful)),
    "looks-linear halves equal": ("looks_linear", lambda patch: patch.setattr(layers, "look_linear", alike)),
    "looks-linear as He": ("looks_linear", conv_with(init="he")),
    "dilation ignored": ("dilated_mixing", conv_with(dilation=1, patch=False)),
    "mixing without swaps": ("dilated_mixing", forward_of(layers.Mixing, unswapped)),
    "ECA's kernel always 3": ("eca", lambda patch: patch.setattr(ChannelAttention, "kernel", property(lambda self: 3))),
    "ECA that does nothing": ("eca", forward_of(layers.ChannelAttention, lambda self, x: x)),
    "RegNet rounds down": ("regnet", round_down),
    "RegNet not quantised": ("regnet", unfitted),
    "ConvNeXt of 3x3": ("convnext", kind_with("convnext", kernel=3)),
    "ConvNeXt half as wide": ("convnext", stage_property("inner_width", lambda s: 2 * s.width)),
    "steps not halved": ("multilevel", unhalved),
    "inserted blocks not copies": ("multilevel", not_copied),
    "effective depth sees shortcuts": ("loss_surface", sees_shortcuts),
}
AT_START: dict[str, tuple[str, Mutant]] = {
    "weights made up for a rectifier that is not there": ("n_shortcut", conv_with(rectified=True)),
    "alpha ignored": ("inception_resnet_scaling", block("alpha")),
    "stochastic depth not rescaled": ("stochastic_depth", block("rescale")),
    "1/sqrt(k) forgets k": ("multi_residual", factor_with(lambda a, n, k: (a, n, 1))),
    "looks-linear halves equal": ("looks_linear", lambda patch: patch.setattr(layers, "look_linear", alike)),
    "SkipInit from one": ("skipinit", module_with(layers.Gain, init=1.0)),
    "gate bias ignored": ("highway", conv_with(bias_init=0.0)),
    "memory that the classifier does not see": ("residual_memory", forward_of(layers.Memory, forgetful)),
    "SE that does nothing": ("se_resnet", forward_of(layers.SqueezeExcitation, lambda self, x: x)),
    "ECA that does nothing": ("eca", forward_of(layers.ChannelAttention, lambda self, x: x)),
    "no shortcut": ("loss_surface", block("shortcut")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_knob_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system, mutant = MUTANTS[name]
    mutant(monkeypatch)
    seen(first_failure(system, Tier.exact))


@pytest.mark.slow
@pytest.mark.parametrize("name", AT_START)
def test_a_broken_knob_is_seen_at_initialisation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system, mutant = AT_START[name]
    mutant(monkeypatch)
    seen(first_failure(system, Tier.init))


def test_every_system_has_a_mutant() -> None:
    assert {system for system, _ in MUTANTS.values()} == set(SYSTEMS)


@pytest.mark.slow
@pytest.mark.parametrize("system", sorted(set(SYSTEMS) - {"resnet", "resnext", "se_resnet", "wide_resnet"}))
def test_the_unbroken_passes(system: str) -> None:
    """So what mutants are caught by is the mutation. (Of the others the large networks take long: `test_verify`.)"""
    assert first_failure(system, Tier.exact) is None
