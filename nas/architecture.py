"""A residual network in the field's own terms: a stem and stages of blocks. A value: it computes nothing but itself.

Every field is a knob, and this is the one table of them. `Architecture.canonical()` removes what has no effect, so
that two spellings of one network have one `id`; `conflict()` is the rules between knobs. How a network of these terms
is wired stands in `nas.plan` alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import sqrt
from typing import Any

from nas.blocks import BLOCKS, kind_of
from nas.knobs import OPTION, OWN, Knob, Value, Values, knob, knobs_of, option
from nas.nodes import ATTENTIONS
from nas.own_block import CODE, fingerprint, unread
from nas.regnet import KNOBS as REGNET

STEMS = ("conv3x3", "conv7x7_pool", "patch2", "patch4")     # CIFAR; ImageNet: stride 2, then a 3x3 max-pool; ConvNeXt
ORDERS = ("post", "pre")                    # He et al. 2015; He et al. 2016
SHORTCUTS = ("A", "B", "C", "none")         # He et al. 2015, table 3; none: a plain network
GATES = ("none", "highway", "transform", "carry", "full")
GAINS = ("none", "zero_gamma", "skipinit", "layerscale")
ACTIVATIONS = ("relu", "silu", "gelu", "crelu", "identity")
NORMS = ("batch", "group", "layer", "none")
INITS = ("he", "xavier", "orthogonal", "looks_linear")
STRIDES_IN = ("conv3x3", "conv1x1")         # where a bottleneck strides: torchvision's V1.5; the original
CONFLICTING = (                             # knobs that rules name
    "base_width", "cardinality", "shortcut_depth", "mixing", "gate", "residual_scaling", "gain", "shortcut",
    "activation", "init", "drop_path")
_FOR_FUNCTIONS = ("kernel", "cardinality", "shortcut_depth", "dilation", "mixing")     # of a user's block alone
_NARROW = ("bottleneck", "inverted")        # blocks of a 1x1, k x k and 1x1 convolution
OWN_BLOCK = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"     # module:function


def _widened(v: Values) -> bool:
    return v["block"] != "basic"


def _grouped(v: Values) -> bool:
    return v["block"] not in ("basic", "convnext")


def _convolved(v: Values) -> bool:
    return v["block"] != "convnext"


@dataclass(frozen=True, slots=True)
class Stage:
    """`depth` blocks that end in `width` channels; the first one strides, except in the first stage.

    alpha is `residual_scaling`: a number, or 1/sqrt(L), L all blocks of the network, or 1/sqrt(k), k the branches.
    `options` are the extra knobs of a user's block by their names.
    """

    depth: int = knob(2, "blocks in a stage", 1, 1000, late=False)
    width: int = knob(32, "channels a stage puts out", 1, 16_384, late=False)
    block: str = knob("basic", "basic, bottleneck, inverted, convnext, or your own as module:function", late=False,
                      choices=tuple(BLOCKS), free=OWN_BLOCK)
    kernel: int = knob(3, "side of the spatial convolutions; odd", 1, 15, late=False, odd=True, label="kernel",
                       by_kind=True)
    bottleneck_ratio: float = knob(
        0.25, "inner width / width; default 4 in inverted and convnext", 1 / 64, 8, late=False, by_kind=True,
        uses=("block", "base_width"), matters=lambda v: _widened(v) and not (_grouped(v) and v["base_width"]))
    cardinality: int = knob(
        1, "groups of the inner convolution; 0: depthwise, the default in inverted (Xie et al. 2017)", 0, 4096,
        late=False, uses=("block",), matters=_grouped, refines=True, by_kind=True)
    shortcut_depth: int = knob(
        2, "convolutions one shortcut spans; default 2 in basic, 3 in bottleneck", 1, 16, late=False, by_kind=True,
        uses=("block",), matters=_convolved)
    residual_scaling: float | str = knob(
        1.0, "alpha, the factor on the branch: a number, 1/sqrt(L) or 1/sqrt(k)", 0.001, 10, late=False, refines=True,
        words=("1/sqrt(L)", "1/sqrt(k)"))
    gate: str = knob("none", "gates from the shortcut: highway (C = 1 - T), transform, carry, full", late=False,
                     choices=GATES, refines=True, label="gate")
    gate_bias: float = knob(-1.0, "where the transform gate starts, before the sigmoid", -10, 10, late=False,
                            uses=("gate",), matters=lambda v: v["gate"] != "none", label="bias")
    gate_kernel: int = knob(1, "side of the gate's convolution; odd", 1, 7, late=False, odd=True,
                            uses=("gate",), matters=lambda v: v["gate"] != "none", label="gate-kernel")
    se_ratio: float = knob(
        0.0, "hidden width of squeeze-and-excitation / width; 0: none (Hu et al. 2018)", 0, 1, late=False,
        uses=("attention",), matters=lambda v: v["attention"] == "se", refines=True)
    attention: str = knob("se", "of channels: se (with se_ratio), or eca (Wang et al. 2020), which has no ratio",
                          choices=tuple(ATTENTIONS), refines=True)
    base_width: int = knob(
        0, "d of ResNeXt's C x d: inner width = cardinality x floor(width / 4 x d / 64); 0: bottleneck_ratio decides",
        0, 1024, uses=("block",), matters=_grouped)
    dilation: int = knob(1, "of the spatial convolutions", 1, 16, uses=("block", "kernel", "mixing"), label="dilation",
                         matters=lambda v: _convolved(v) and v["kernel"] != 1 and v["mixing"] == "none")
    mixing: str = knob("none", "dilated: two branches of dilations (1, 2) and (2, 1) that swap half their channels",
                       choices=("none", "dilated"), uses=("block",), matters=_convolved, label="mixing", refines=True)
    branches: int = knob(1, "k full-width functions that are summed (Abdi and Nahavandi 2016)", 1, 64, refines=True,
                         label="k")
    gain: str = knob("none", "what the branch learns to be multiplied with: zero_gamma, skipinit (ReZero), layerscale",
                     choices=GAINS, refines=True, label="gain")
    gain_init: float = knob(1e-4, "where LayerScale starts", 1e-8, 1, uses=("gain",), label="gain-init",
                            matters=lambda v: v["gain"] == "layerscale")
    dropout: float = knob(0.0, "share of elements dropped before the block's last convolution", 0, 0.95, refines=True,
                          uses=("block",), matters=lambda v: ":" not in str(v["block"]), label="dropout")
    share: str = knob("none", "stage: blocks of one shape use one set of convolutions (Liao and Poggio 2016)",
                      choices=("none", "stage"), label="share")
    options: tuple[tuple[str, Value], ...] = ()

    @property
    def inner_width(self) -> int:
        """Channels inside the block; 0 where `base_width` leaves none."""
        if self.block == "basic":
            return self.width
        if self.base_width and self.block != "convnext":
            return int(self.width / 4 * self.base_width / 64 + 1e-9) * max(1, self.cardinality)
        return max(1, int(self.width * self.bottleneck_ratio + 0.5))

    @property
    def groups(self) -> int:
        """Groups of the inner convolution."""
        if self.block in ("basic", "convnext"):
            return 1
        return self.cardinality or self.inner_width

    @property
    def se_hidden(self) -> int:
        """Hidden channels of squeeze-and-excitation; 0 where there is none."""
        wanted = self.attention == "se" and self.se_ratio > 0
        return max(1, int(self.width * self.se_ratio + 1e-9)) if wanted else 0

    def values(self) -> dict[str, Value]:
        """The knobs by their names."""
        return {name: getattr(self, name) for name in STAGE_KNOBS}

    def canonical(self) -> Stage:
        """The same stage with what has no effect at its default, and ratios as the widths they come to."""
        values = self.values()
        idle = {name: one.default for name, one in STAGE_KNOBS.items() if one.matters and not one.matters(values)}
        basic = self.block == "basic"
        return replace(self, **{  # type: ignore[arg-type]
            "gate_bias": float(self.gate_bias) + 0.0,       # + 0.0: no negative zero
            "gain_init": float(self.gain_init), "dropout": float(self.dropout),
            "residual_scaling": factor(self.residual_scaling, 1, self.branches),
            "se_ratio": self.se_hidden / self.width, **idle,
            "base_width": 0, "cardinality": self.groups,
            "bottleneck_ratio": 0.25 if basic else self.inner_width / self.width,
            "options": self._marked() if ":" in self.block else (),
        })

    def _marked(self) -> tuple[tuple[str, Value], ...]:
        """The options of a user's block, and the text of its file among them: edited, it is another block."""
        return tuple(sorted({CODE: fingerprint(self.block), **dict(self.options)}.items()))

    def unread(self) -> list[str]:
        """What is set for a user's block alone, and its function never reads; of a canonical stage that was built."""
        if ":" not in self.block:
            return []
        usual = replace(self, bottleneck_ratio=STAGE_KNOBS["bottleneck_ratio"].default)     # type: ignore[arg-type]
        mine = [name for name in _FOR_FUNCTIONS if getattr(self, name) != STAGE_KNOBS[name].default]
        if self.inner_width != usual.inner_width and unread(self.block, ["inner_width"]):
            mine.append("bottleneck_ratio")
        options = [name for name, _ in self.options if name != CODE]
        return unread(self.block, [*mine, *options])

    def conflict(self, network: Architecture) -> tuple[str, str] | None:
        """The first rule between knobs that the stage breaks in `network`, as (knob, sentence)."""
        return next(((name, str(broken)) for name, broken in self._rules(network) if broken), None)

    def _rules(self, network: Architecture) -> tuple[tuple[str, str | bool], ...]:
        """Each as (knob, the sentence where it is broken): sentences are made where they are wanted alone."""
        plain, grouped = network.shortcut == "none", self.block in _NARROW
        convolved = grouped or self.block == "basic"
        inner, alpha = self.inner_width, factor(self.residual_scaling, network.blocks, self.branches)
        return (
            ("base_width", inner < 1 and f"base_width {self.base_width} leaves no channel: {self.width} / 4 x "
                                         f"{self.base_width} / 64 is below 1"),
            ("cardinality", grouped and inner >= 1 and inner % self.groups > 0 and
             f"cardinality {self.cardinality} does not divide the inner width {inner}"),
            ("shortcut_depth", grouped and self.shortcut_depth < 3 and
             f"a {self.block}'s shortcut spans at least 3 convolutions, not {self.shortcut_depth}"),
            ("mixing", convolved and self.mixing != "none" and (self.block != "basic" or self.shortcut_depth < 2) and
             "mixing needs a basic block of 2 convolutions or more"),
            ("gate", plain and self.gate != "none" and "a gate needs a shortcut, and shortcut is none"),
            ("residual_scaling", self.gate == "highway" and alpha != 1 and
             f"residual_scaling {_short(self.residual_scaling)} beside a highway gate: T and 1 - T no longer sum to 1"),
            ("gain", self.gain == "zero_gamma"
             and (network.order == "pre" or network.norm == "none" or not convolved) and
             "zero_gamma needs a norm at the end of the branch: order post, a norm, and a block that ends in one"),
            ("gain", self.gate == "highway" and self.gain != "none" and
             f"{self.gain} beside a highway gate: T and 1 - T no longer sum to 1"),
            ("gain", plain and self.gain != "none" and
             f"{self.gain} without a shortcut: nothing would pass"),
        )


@dataclass(frozen=True, slots=True)
class Architecture:
    """A residual network: stem, stages, global average pooling, linear classifier. Independent of the data."""

    stages: tuple[Stage, ...]
    stem: str = knob("conv3x3", "conv3x3 (CIFAR), conv7x7_pool (ImageNet), patch2 or patch4 (ConvNeXt)", choices=STEMS,
                     name="stem.kind", late=False)
    stem_width: int = knob(16, "channels of the stem", 1, 4096, name="stem.width", late=False)
    order: str = knob("post", "post- or pre-activation", choices=ORDERS, late=False, label="order")
    shortcut: str = knob("B", "A zero-padding, B projection where shapes change, C projections, none",
                         choices=SHORTCUTS, late=False, label="shortcut")
    activation: str = knob("relu", "nonlinearity; crelu needs order pre; identity: a linear network",
                           choices=ACTIVATIONS, late=False, label="act")
    stride_in: str = knob("conv3x3", "the convolution in which a bottleneck strides", choices=STRIDES_IN, late=False,
                          label="stride", uses=("block",), matters=lambda v: v["stage"] != 1 and v["block"] in _NARROW)
    norm: str = knob("batch", "batch, group (of 16 channels), layer (of each place's channels), none (biases instead)",
                     choices=NORMS, label="norm")
    init: str = knob("he", "of the convolutions: he, xavier, orthogonal, or looks_linear (with crelu)", choices=INITS,
                     label="init")
    drop_path: float = knob(0.0, "stochastic depth: share of images whose last branch is left out while training; "
                                 "it rises linearly with the block's index (Huang et al. 2016)",
                            0, 0.95, label="drop-path")
    memory: int = knob(0, "units of an LSTM over the means of all blocks (Moniz and Pal 2016); 0: none", 0, 4096,
                       label="memory")

    @property
    def blocks(self) -> int:
        """L: residual blocks in all."""
        return sum(stage.depth for stage in self.stages)

    def canonical(self) -> Architecture:
        """The same network with what has no effect at its default."""
        strides = any(s.block in _NARROW for s in self.stages[1:])
        changes = len(self.stages) > 1 or self.stages[0].width != self.stem_width
        keeps = any(self._alike(number, stage) for number, stage in enumerate(self.stages))
        matters = changes if self.shortcut in ("A", "B") else keeps or self.shortcut == "none"
        bare = self.activation == "identity" and self.norm == "none" and all(s.block in BLOCKS for s in self.stages)
        return replace(
            self,
            stages=tuple(self._stage(number, stage) for number, stage in enumerate(self.stages)),
            stride_in=self.stride_in if strides else "conv3x3",
            shortcut=self.shortcut if matters else "B",
            order="post" if bare else self.order,
            drop_path=float(self.drop_path),
        )

    def _alike(self, number: int, stage: Stage) -> int:
        """Blocks of a stage that keep the shape; `number` from 0."""
        return stage.depth - (number > 0 or stage.width != self.stem_width)

    def _stage(self, number: int, stage: Stage) -> Stage:
        same = stage.block == "inverted" and (self.order == "pre" or self.activation == "identity")
        return replace(
            stage.canonical(), share=stage.share if self._alike(number, stage) > 1 else "none",
            block="bottleneck" if same else stage.block,        # without an activation after the sum they are one
            residual_scaling=factor(stage.residual_scaling, self.blocks, stage.branches))

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the canonical form: equal for equal networks, however spelled."""
        return _id(self)

    def conflict(self) -> tuple[str, str] | None:
        """The first rule between knobs that is broken, as (rule's name, sentence); None for a legal network."""
        if self.activation == "crelu" and self.order != "pre":
            return "activation", "crelu after the sum would double its channels: it needs order pre"
        if self.init == "looks_linear" and self.activation != "crelu":
            return "init", f"looks_linear is of networks with crelu, not {self.activation}"
        if self.drop_path and self.shortcut == "none":
            return "drop_path", "drop_path without a shortcut: nothing would pass where a branch is left out"
        before = self.stem_width
        for number, stage in enumerate(self.stages, 1):
            found = stage.conflict(self)
            if found:
                return found[0], f"stage{number}: {found[1]}"
            doubled = self.activation == "crelu" and stage.block in BLOCKS and (number > 1 or stage.width != before)
            if self.shortcut == "A" and stage.width < (taken := before * (1 + doubled)):
                behind = " behind a crelu" if doubled else ""
                return "shortcut", f"stage{number}: shortcut A cannot narrow {taken} channels{behind} to {stage.width}"
            before = stage.width
        return None

    def cautions(self) -> tuple[str, ...]:
        """What is legal and seldom wise, in sentences."""
        network, found = self.canonical(), []
        for stage in network.stages:
            if stage.gain in ("zero_gamma", "skipinit") and stage.shortcut_depth > 2:
                found.append(f"shortcut_depth {stage.shortcut_depth} with {stage.gain}: from 3 convolutions on, a "
                             "branch that starts at zero has a zero Hessian, and training may stall (Li et al. 2016)")
            if stage.gate != "none" and (stage.se_hidden or stage.attention == "eca"):
                found.append("a gate and channel attention on one branch: both rescale it")
            if stage.branches > 1 and stage.residual_scaling == 1 and network.norm == "none":
                found.append(f"{stage.branches} branches without norms: residual_scaling 1/sqrt(k) keeps the variance")
            found += [f"{stage.block} never reads {name}, which is set" for name in stage.unread()]
        return tuple(dict.fromkeys(found))

    def line(self) -> str:
        """The network in one readable line."""
        return _line(self.canonical())

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold; `from_dict` inverts it."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Architecture:
        """The architecture that `to_dict` wrote, by this version or an earlier one."""
        stages = tuple(Stage(**{**stage, "options": tuple((name, value) for name, value in stage.get("options", ()))})
                       for stage in values["stages"])
        return Architecture(**{**values, "stages": stages})


STAGE_KNOBS = knobs_of(dataclasses.fields(Stage), staged=True)
NETWORK_KNOBS = knobs_of(dataclasses.fields(Architecture), staged=False)
STAGES = Knob("stages", int, 3, "number of stages; each but the first halves the resolution", 1, 8, staged=False)
KNOBS: dict[str, Knob] = {one.name: one for one in (STAGES, *NETWORK_KNOBS.values(), *STAGE_KNOBS.values())}
STAGED = tuple(STAGE_KNOBS.values())
_BY_NAME = {**REGNET, **KNOBS}


def knob_named(name: str) -> Knob:
    """The knob of that name, one of a user's block included. Raises KeyError."""
    return option(name.removeprefix(OPTION)) if name.startswith(OPTION) else _BY_NAME[name]


def written_out(knob: Knob, value: Value, values: Values) -> Value:
    """`value`, or where it is not written what is usual in the block of `values`."""
    return kind_of(str(values["block"])).usual.get(knob.name, knob.default) if value == OWN and knob.by_kind else value


def factor(alpha: float | str, blocks: int, branches: int) -> float:
    """alpha as a number, in a network of so many blocks, of which each has so many branches."""
    if alpha == "1/sqrt(k)":
        return 1 / sqrt(branches)
    if alpha == "1/sqrt(L)":
        return 1 / sqrt(blocks)
    return float(alpha)


@lru_cache(maxsize=65_536)
def _id(architecture: Architecture) -> str:
    values = architecture.canonical().to_dict()
    stages = [_known(stage, STAGE_KNOBS) for stage in values["stages"]]
    text = json.dumps({**_known(values, NETWORK_KNOBS), "stages": stages}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _known(values: Mapping[str, Any], knobs: Mapping[str, Knob]) -> dict[str, Any]:
    """Without what came after the first databases and is at its default: their ids remain."""
    return {name: value for name, value in values.items()
            if not (name in knobs and knobs[name].late and value == knobs[name].default) and value != ()}


def _line(a: Architecture) -> str:
    stages = a.stages
    words = [f"{a.stem}-{a.stem_width}", _shared([s.block for s in stages])]
    words.append(" ".join(f"{s.depth}×{s.width}" for s in stages))
    classic = all(s.shortcut_depth == kind_of(s.block).usual.get("shortcut_depth", 2) for s in stages)
    widened = any((s.block in BLOCKS and s.block != "basic") or s.bottleneck_ratio != 0.25 for s in stages)
    special = (
        ("ratio", [f"{s.bottleneck_ratio:.3g}" for s in stages], widened),
        ("C", [str(s.cardinality) for s in stages], any(s.cardinality > 1 for s in stages)),
        ("n", [str(s.shortcut_depth) for s in stages], not classic),
        ("α", [f"{s.residual_scaling:.3g}" for s in stages], any(s.residual_scaling != 1 for s in stages)),
        ("SE", [f"{s.se_ratio:.3g}" for s in stages], any(s.se_ratio > 0 for s in stages)),
        ("attention", [s.attention for s in stages], any(s.attention != "se" for s in stages)),
    )
    words += [f"{name}={_shared(values)}" for name, values, wanted in special if wanted]
    for name, one in STAGE_KNOBS.items():
        found = [getattr(s, name) for s in stages]
        if one.label and any(value != one.default for value in found):
            words.append(f"{one.label}={_shared([_short(value) for value in found])}")
    options = {name for s in stages for name, _ in s.options} - {CODE}
    words += [f"{name}={_shared([_short(dict(s.options).get(name, '-')) for s in stages])}" for name in sorted(options)]
    words += [f"{one.label}={_short(getattr(a, name))}" for name, one in NETWORK_KNOBS.items()
              if one.label and getattr(a, name) != one.default]
    return " ".join(words)


def _short(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shared(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else "/".join(values)
