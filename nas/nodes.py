"""The kinds of layers that networks are made of, each with its shapes, its exact cost, its module and its words.

A node says everything of its layer once; `nas.cost`, `nas.model` and `nas.diagram` are folds that know no kind by name,
so a new kind of layer is one class here and its module in `nas.model.layers`. How knobs become nodes stands in
`nas.plan`. No torch.

Shapes are (channels, height, width) of one image. Nodes compare by identity: equal parts of a network are the same
object (blocks are cached), which is what lets a fold remember them; compare plans by `nas.diagram.text`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

Shape: TypeAlias = tuple[int, int, int]     # channels, height, width
Argument: TypeAlias = Any                   # of a module: plain values that Python can write down


class Cost(NamedTuple):
    """Exact costs for one image; what is counted is said in `nas.cost`."""

    params: int
    macs: int
    activations: int

    @property
    def flops(self) -> int:
        """Two for each multiply-add."""
        return 2 * self.macs


FREE = Cost(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Call:
    """How a layer is made: `name(*arguments, **options)`, a name of `nas.model.layers` or `nn.` and one of torch's.

    The parts of the node are options, too: calls by their names.
    """

    name: str
    arguments: tuple[Argument, ...] = ()
    options: dict[str, Argument] = field(default_factory=dict)


class Words(NamedTuple):
    """What a drawing says of a layer: `text` has one {} for each of `numbers`. look: conv, slim, se or knob."""

    look: str
    text: str
    numbers: tuple[int, ...] = ()


class Node(Hashable, Protocol):
    """A layer, or several."""

    @property
    def shape(self) -> Shape:
        """Of what goes in."""

    @property
    def out(self) -> Shape:
        """Of what comes out."""

    @property
    def own(self) -> Cost:
        """Of the layer without its parts."""

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        """By their names in the state dict."""

    @property
    def call(self) -> Call:
        """The module."""

    @property
    def words(self) -> Words:
        """For people."""


class _Layer:
    """What holds of most layers: they cost nothing, and have no parts."""

    __slots__ = ()

    @property
    def own(self) -> Cost:
        return FREE

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        return ()


class _Same(_Layer):
    """A layer that keeps the shape."""

    __slots__ = ()
    shape: Shape

    @property
    def out(self) -> Shape:
        return self.shape


@dataclass(frozen=True, slots=True, eq=False)
class Conv(_Layer):
    """A convolution. Its padding keeps the resolution, `patch`: none, as its stride is its kernel.

    init: he (fan-out), xavier, orthogonal or looks_linear. rectified: a rectifier halves the energy of what goes in,
    and the weights make up for it.
    """

    shape: Shape            # in
    out: Shape
    kernel: int
    stride: int = 1
    groups: int = 1
    bias: bool = False
    bias_init: float = 0.0
    dilation: int = 1
    init: str = "he"
    rectified: bool = True
    patch: bool = False

    @property
    def own(self) -> Cost:
        out, height, width = self.out
        weights = out * (self.shape[0] // self.groups) * self.kernel**2
        return Cost(weights + (out if self.bias else 0), weights * height * width, out * height * width)

    @property
    def call(self) -> Call:
        options: dict[str, Argument] = {}
        for name, default in _CONV_DEFAULTS.items():
            if getattr(self, name) != default:
                options[name] = getattr(self, name)
        if self.bias:
            options["bias_init"] = self.bias_init
        return Call("conv", (self.shape[0], self.out[0], self.kernel), options)

    @property
    def words(self) -> Words:
        grouped = ", depthwise" if self.groups == self.shape[0] else f", {self.groups} groups"
        groups = grouped if self.groups > 1 else ""
        dilated = f", dilation {self.dilation}" if self.dilation > 1 else ""
        return Words("conv", f"{self.kernel}×{self.kernel} conv, {{}}{groups}{dilated}", (self.out[0],))


_CONV_DEFAULTS: dict[str, Argument] = {
    "stride": 1, "groups": 1, "bias": False, "dilation": 1, "init": "he", "rectified": True, "patch": False}


@dataclass(frozen=True, slots=True, eq=False)
class Borrowed(_Layer):
    """The convolution `of` another block of the stage once more: no weights of its own (Liao and Poggio 2016)."""

    of: Conv

    @property
    def shape(self) -> Shape:
        return self.of.shape

    @property
    def out(self) -> Shape:
        return self.of.out

    @property
    def own(self) -> Cost:
        return self.of.own._replace(params=0)

    @property
    def call(self) -> Call:
        return Call("Borrowed")

    @property
    def words(self) -> Words:
        look, text, numbers = self.of.words
        return Words(look, f"{text} (shared)", numbers)


NORMS = {"batch": "BN", "group": "GN", "layer": "LN"}


@dataclass(frozen=True, slots=True, eq=False)
class Norm(_Same):
    """Normalisation with learned scale and shift: batch; group (of 16 channels, where that divides); layer (over the
    channels of each place). The scale starts at `scale`.
    """

    shape: Shape
    kind: str = "batch"
    scale: float = 1.0

    @property
    def own(self) -> Cost:
        return Cost(2 * self.shape[0], 0, 0)

    @property
    def call(self) -> Call:
        if self.kind == "batch" and self.scale == 1:
            return Call("nn.BatchNorm2d", (self.shape[0],))
        return Call("norm", (self.kind, self.shape[0]), {"scale": self.scale} if self.scale != 1 else {})

    @property
    def words(self) -> Words:
        return Words("slim", NORMS[self.kind] + (f", γ from {self.scale:g}" if self.scale != 1 else ""))


ACTIVATIONS = {     # name: module, options, words
    "relu": ("nn.ReLU", {"inplace": True}, "ReLU"),
    "silu": ("nn.SiLU", {"inplace": True}, "SiLU"),
    "gelu": ("nn.GELU", {}, "GELU"),
    "crelu": ("CReLU", {}, "CReLU"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Activation(_Layer):
    """An elementwise nonlinearity; crelu puts out two channels for one: relu(x) and relu(-x) (Shang et al. 2016)."""

    kind: str
    shape: Shape

    @property
    def out(self) -> Shape:
        return (self.shape[0] * (2 if self.kind == "crelu" else 1), *self.shape[1:])

    @property
    def call(self) -> Call:
        name, options, _ = ACTIVATIONS[self.kind]
        return Call(name, options=options)

    @property
    def words(self) -> Words:
        return Words("slim", ACTIVATIONS[self.kind][2])


@dataclass(frozen=True, slots=True, eq=False)
class MaxPool(_Layer):
    """3x3 max-pooling of stride 2, padding 1."""

    shape: Shape
    out: Shape

    @property
    def call(self) -> Call:
        return Call("nn.MaxPool2d", (3, 2, 1))

    @property
    def words(self) -> Words:
        return Words("slim", "3×3 max pool, stride 2")


@dataclass(frozen=True, slots=True, eq=False)
class Identity(_Same):
    """The identity shortcut."""

    shape: Shape

    @property
    def call(self) -> Call:
        return Call("nn.Identity")

    @property
    def words(self) -> Words:
        return Words("slim", "identity")


@dataclass(frozen=True, slots=True, eq=False)
class PadShortcut(_Layer):
    """Shortcut A: strided sampling, then channels of zeros (He et al. 2015, section 3.3)."""

    shape: Shape
    out: Shape
    stride: int

    @property
    def call(self) -> Call:
        return Call("PadShortcut", (self.stride, self.out[0] - self.shape[0]))

    @property
    def words(self) -> Words:
        return Words("slim", f"zero padding (A), stride {self.stride}")


@dataclass(frozen=True, slots=True, eq=False)
class SqueezeExcitation(_Same):
    """Channels rescaled by a two-layer network of their means (Hu et al. 2018, equations 2 to 4), with biases."""

    shape: Shape
    hidden: int

    @property
    def own(self) -> Cost:
        channels, hidden = self.shape[0], self.hidden
        return Cost(2 * channels * hidden + channels + hidden, 2 * channels * hidden, channels + hidden)

    @property
    def call(self) -> Call:
        return Call("SqueezeExcitation", (self.shape[0], self.hidden))

    @property
    def words(self) -> Words:
        return Words("se", "SE, hidden {}", (self.hidden,))


@dataclass(frozen=True, slots=True, eq=False)
class ChannelAttention(_Same):
    """Channels rescaled by a one-dimensional convolution over their means (ECA, Wang et al. 2020, equation 12).

    Its kernel is the odd number nearest above log2(C) / 2 + 1/2, rounded down first, as in the authors' code.
    """

    shape: Shape

    @property
    def kernel(self) -> int:
        """Neighbouring channels that decide on one."""
        steps = (self.shape[0].bit_length()) // 2       # int(log2(C) / 2 + 1/2)
        return steps if steps % 2 else steps + 1

    @property
    def own(self) -> Cost:
        return Cost(self.kernel, self.kernel * self.shape[0], self.shape[0])

    @property
    def call(self) -> Call:
        return Call("ChannelAttention", (self.kernel,))

    @property
    def words(self) -> Words:
        return Words("se", "ECA, kernel {}", (self.kernel,))


ATTENTIONS: dict[str, Callable[[Shape, int], Node | None]] = {      # from the shape and the hidden width
    "se": lambda shape, hidden: SqueezeExcitation(shape, hidden) if hidden else None,
    "eca": lambda shape, _: ChannelAttention(shape),
}


@dataclass(frozen=True, slots=True, eq=False)
class Gain(_Same):
    """A learned factor from `init`: one for all (SkipInit, ReZero), or one a channel (LayerScale)."""

    shape: Shape
    by_channel: bool
    init: float

    @property
    def own(self) -> Cost:
        return Cost(self.shape[0] if self.by_channel else 1, 0, 0)

    @property
    def call(self) -> Call:
        return Call("Gain", (self.shape[0] if self.by_channel else 1, self.init))

    @property
    def words(self) -> Words:
        return Words("knob", f"× g{' by channel' if self.by_channel else ''}, from {self.init:g}")


@dataclass(frozen=True, slots=True, eq=False)
class Dropout(_Same):
    """Elements dropped while training (Zagoruyko and Komodakis 2016, section 2.4)."""

    shape: Shape
    rate: float

    @property
    def call(self) -> Call:
        return Call("nn.Dropout", (self.rate,))

    @property
    def words(self) -> Words:
        return Words("slim", f"dropout {self.rate:g}")


@dataclass(frozen=True, slots=True, eq=False)
class Opaque(_Layer):
    """A module that a user's function makes; its cost was counted on torch's meta device."""

    shape: Shape
    out: Shape
    counted: Cost
    function: str                       # module:function
    arguments: tuple[Argument, ...]

    @property
    def own(self) -> Cost:
        return self.counted

    @property
    def call(self) -> Call:
        return Call(self.function, self.arguments)

    @property
    def words(self) -> Words:
        return Words("conv", f"{self.function.partition(':')[2]}, {{}}", (self.out[0],))


# --- layers of layers -------------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True, eq=False)
class Sequence(_Layer):
    """Named layers, one after the other. Names are the keys of the state dict."""

    shape: Shape
    out: Shape
    layers: tuple[tuple[str, Node], ...]

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        return self.layers

    @property
    def call(self) -> Call:
        return Call("sequence")

    @property
    def words(self) -> Words:
        return Words("slim", "block")


@dataclass(frozen=True, slots=True, eq=False)
class Unrolled(Sequence):
    """A stage whose blocks of one shape use the convolutions of the first of them, the `owner`."""

    owner: str = ""

    @property
    def call(self) -> Call:
        return Call("Unrolled", (self.owner,))


@dataclass(frozen=True, slots=True, eq=False)
class Memory(Sequence):
    """Stages, and an LSTM of `hidden` units over the mean of every block's output, in order (Moniz and Pal 2016).

    Means of fewer than `width` channels are filled up with zeros. Its last state is joined to the mean of what comes
    out. An LSTM has 4 (DH + H^2 + 2H) weights.
    """

    hidden: int = 0
    width: int = 0
    steps: int = 0

    @property
    def own(self) -> Cost:
        weights = 4 * (self.width * self.hidden + self.hidden**2)
        return Cost(weights + 8 * self.hidden, self.steps * weights, self.steps * 8 * self.hidden)

    @property
    def call(self) -> Call:
        return Call("Memory", (self.width, self.hidden))

    @property
    def words(self) -> Words:
        return Words("knob", "LSTM over all blocks, {} units", (self.hidden,))


@dataclass(frozen=True, slots=True, eq=False)
class Sum(_Layer):
    """The sum of several functions of one input (multi-residual; Abdi and Nahavandi 2016)."""

    shape: Shape
    out: Shape
    branches: tuple[Node, ...]

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        return tuple((f"f{number}", branch) for number, branch in enumerate(self.branches, 1))

    @property
    def call(self) -> Call:
        return Call("Sum")

    @property
    def words(self) -> Words:
        return Words("knob", f"sum of {len(self.branches)} branches")


@dataclass(frozen=True, slots=True, eq=False)
class Mixing(_Layer):
    """Two branches that swap the second half of their channels between their steps, then the sum of both.

    Inspired by mixed tensor decompositions (Cohen et al. 2018, section 5): `steps` are pairs of layers, of dilations
    (1, 2) and (2, 1).
    """

    shape: Shape
    out: Shape
    steps: tuple[tuple[Node, Node], ...]

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        return tuple((f"{letter}{number}", layer) for number, pair in enumerate(self.steps, 1)
                     for letter, layer in zip("ab", pair, strict=True))

    @property
    def call(self) -> Call:
        return Call("Mixing")

    @property
    def words(self) -> Words:
        return Words("knob", "two branches, halves swapped")


@dataclass(frozen=True, slots=True, eq=False)
class Gate(_Same):
    """Sigmoid gates from the shortcut's output s: y = s C + F T (Srivastava et al. 2015; Greff et al. 2017).

    kind highway: C = 1 - T. transform: C = 1. carry: T = 1. full: both learned. Each learned gate is one
    convolution with bias; a learned carry gate of its own starts at the opposite bias, so that it starts open.
    """

    kind: str
    shape: Shape
    transform: Conv | None
    carry: Conv | None

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        both = (("transform", self.transform), ("carry", self.carry))
        return tuple((name, conv) for name, conv in both if conv is not None)

    @property
    def call(self) -> Call:
        return Call("Gate", (self.kind,))

    @property
    def words(self) -> Words:
        return Words("knob", f"{self.kind} gate")


@dataclass(frozen=True, slots=True, eq=False)
class Residual(_Layer):
    """y = post(s C + alpha drop(F(u)) T) with u = pre(x), s = shortcut(u); without a shortcut y = post(alpha F(u)).

    drop: the share of images whose branch is left out while training (stochastic depth; Huang et al. 2016); the others'
    are divided by 1 - drop.
    """

    shape: Shape
    out: Shape
    pre: Sequence | None            # shared by branch and shortcut: pre-activation where shapes change
    shortcut: Node | None           # None: a plain network
    branch: Sequence
    scale: float
    gate: Gate | None
    post: Activation | None
    drop: float = 0.0

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        named = (("branch", self.branch), ("shortcut", self.shortcut), ("pre", self.pre), ("post", self.post),
                 ("gate", self.gate))
        return tuple((name, part) for name, part in named if part is not None)

    @property
    def call(self) -> Call:
        options: dict[str, Argument] = {"scale": self.scale} if self.scale != 1 else {}
        return Call("Residual", options=options | ({"drop": self.drop} if self.drop else {}))

    @property
    def words(self) -> Words:
        return Words("slim", "residual block")


@dataclass(frozen=True, slots=True, eq=False)
class Head(_Layer):
    """Global average pooling, then a linear classifier with bias."""

    shape: Shape
    classes: int
    init: str = ""                  # "": torch's own

    @property
    def out(self) -> Shape:
        return (self.classes, 1, 1)

    @property
    def own(self) -> Cost:
        channels, classes = self.shape[0], self.classes
        return Cost(channels * classes + classes, channels * classes, classes)

    @property
    def call(self) -> Call:
        return Call("Head", (self.shape[0], self.classes), {"init": self.init} if self.init else {})

    @property
    def words(self) -> Words:
        return Words("slim", "mean, linear, {}", (self.classes,))


def chain(layers: list[tuple[str, Node]]) -> Sequence:
    """`layers`, of which there is one at least, one after the other."""
    return Sequence(layers[0][1].shape, layers[-1][1].out, tuple(layers))


def strided(shape: Shape, stride: int, channels: int) -> Shape:
    """What a layer of `channels` puts out that keeps the resolution but for its stride."""
    return (channels, -(-shape[1] // stride), -(-shape[2] // stride))
