"""Layers without parts: convolutions, norms, activations, shortcuts, attention of channels, gains, the head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas.nodes.base import Argument, Call, Cost, Layer, Node, Same, Shape, Words


@dataclass(frozen=True, slots=True, eq=False)
class Conv(Layer):
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
class Borrowed(Layer):
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
        _, text, numbers = self.of.words
        return Words("lent", text, numbers)


NORMS = {"batch": "BN", "group": "GN", "layer": "LN"}


@dataclass(frozen=True, slots=True, eq=False)
class Norm(Same):
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
class Activation(Layer):
    """An elementwise nonlinearity; crelu puts out two channels for one: relu(x) and relu(-x) (Shang et al. 2016).

    fresh: nobody else needs what goes in, so that it may be overwritten.
    """

    kind: str
    shape: Shape
    fresh: bool = False

    @property
    def out(self) -> Shape:
        return (self.shape[0] * (2 if self.kind == "crelu" else 1), *self.shape[1:])

    @property
    def call(self) -> Call:
        name, options, _ = ACTIVATIONS[self.kind]
        return Call(name, options=options if self.fresh else {})

    @property
    def words(self) -> Words:
        return Words("slim", ACTIVATIONS[self.kind][2])


@dataclass(frozen=True, slots=True, eq=False)
class MaxPool(Layer):
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
class Identity(Same):
    """The identity shortcut."""

    shape: Shape

    @property
    def call(self) -> Call:
        return Call("nn.Identity")

    @property
    def words(self) -> Words:
        return Words("slim", "identity")


@dataclass(frozen=True, slots=True, eq=False)
class PadShortcut(Layer):
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
class SqueezeExcitation(Same):
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
class ChannelAttention(Same):
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
class Gain(Same):
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
class Dropout(Same):
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
class Opaque(Layer):
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


@dataclass(frozen=True, slots=True, eq=False)
class Head(Layer):
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
