"""Networks of the literature by name: `resnet50`, `wrn_28_10`, `cifar_resnext29_8x64d`. No data, no training, no torch.

One table of forms: a name's pattern, and the function that makes the network of its numbers; any legal numbers will do.
Case does not matter. ImageNet's forms stand first, so that a depth that is legal in both (`resnet50`, 50 = 6n+2) is
ImageNet's; `cifar_` in front means CIFAR's, and so does `_a` (shortcut A) behind, which ImageNet's have not.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from nas.architecture import STAGE_KNOBS, Architecture, Stage
from nas.errors import NasError, one_line, shown
from nas.nodes import Shape

_IMAGENET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_BOTTLENECKS = (164, 1001)      # depths of He et al. 2016 on CIFAR that are bottlenecks
_SPANS = {"basic": 2, "bottleneck": 3}
_SE_RATIO = 1 / 16      # Hu et al. 2018: r = 16


@dataclass(frozen=True, slots=True)
class Reference:
    """A network of the literature. `data` is the source it was made for: of images `shape` (C, H, W), `classes`.

    about: what to know of the name, where it says something else than one may think.
    """

    name: str
    architecture: Architecture
    data: str
    shape: Shape
    classes: int
    about: str = ""


def reference(name: str) -> Reference:
    """The network of that name. Raises `NasError` for numbers that it cannot have, and for what is no name."""
    found = _parsed(name)
    if found is None:
        begun = [example for example in EXAMPLES if example.startswith(name.lower())]
        near = begun or difflib.get_close_matches(name.lower(), EXAMPLES, 1)
        others = (form.examples.split()[0] for form in _FORMS)
        remedy = f"did you mean {near[0]}?" if near else f"there are e.g. {', '.join(others)}"
        raise NasError(one_line(f"{shown(name)}: is not the name of a reference network; {remedy}"))
    match, form = found
    architecture = form.make(match)
    _check(match.string, architecture)
    shape, classes = _IMAGES[form.data]
    return Reference(match.string, architecture, form.data, shape, classes, _confusable(match))


def _confusable(m: re.Match[str]) -> str:
    """The name of the paper's network of this depth, where that is another one."""
    named = m.groupdict()
    if not named.get("pre") or named["bottleneck"] or int(m["depth"]) not in _BOTTLENECKS:
        return ""
    other = m.string[:m.end("pre")] + "bottleneck_" + m.string[m.end("pre"):]
    return f"of basic blocks; the paper's {m['depth']} layers are {other}"


def is_reference(name: str) -> bool:
    """Whether `name` has the form of a reference network's; its numbers may still be ones that it cannot have."""
    return _parsed(name) is not None


def _parsed(name: str) -> tuple[re.Match[str], _Form] | None:
    matches = ((re.fullmatch(form.pattern, name.lower()), form) for form in _FORMS)
    return next(((match, form) for match, form in matches if match), None)


# --- ImageNet: 7x7 stem, four stages ----------------------------------------------------------------------------------

def _resnet(m: re.Match[str]) -> Architecture:
    """He et al. 2015, table 1; with `se`, Hu et al. 2018, table 1."""
    depth = int(m["depth"])
    return _imagenet(depth, "basic" if depth < 50 else "bottleneck", se=bool(m["se"]))


def _resnext(m: re.Match[str]) -> Architecture:
    """Xie et al. 2017, table 1: C groups of d channels in the first stage."""
    return _imagenet(int(m["depth"]), inner=int(m["C"]) * int(m["d"]), cardinality=int(m["C"]), se=bool(m["se"]))


def _wide(m: re.Match[str]) -> Architecture:
    """Zagoruyko and Komodakis 2016, section 3.5: K times the inner width."""
    return _imagenet(int(m["depth"]), inner=64 * int(m["K"]))


def _imagenet(depth: int, block: str = "bottleneck", inner: int = 64, cardinality: int = 1,
              se: bool = False) -> Architecture:
    """inner: width inside the blocks of the first stage, which doubles with every stage as the width does."""
    first = 64 if block == "basic" else 256
    widths = (first, 2 * first, 4 * first, 8 * first)
    stage = _stage(block, inner / 256, cardinality, se)
    stages = tuple(replace(stage, depth=d, width=w) for d, w in zip(_IMAGENET[depth], widths, strict=True))
    return Architecture(stages, stem="conv7x7_pool", stem_width=64)


# --- CIFAR: 3x3 stem, three stages ------------------------------------------------------------------------------------

def _cifar_resnet(m: re.Match[str]) -> Architecture:
    """He et al. 2015, section 4.2; pre: He et al. 2016, bottlenecks as in its table 2."""
    pre, bottleneck = bool(m["pre"]), bool(m["bottleneck"])
    stage = _stage("bottleneck" if bottleneck else "basic", se=bool(m["se"]))
    return _cifar(_blocks(m, 9 if bottleneck else 6), 64 if bottleneck else 16, stage, pre,
                  shortcut="A" if m["a"] else "B")


def _wrn(m: re.Match[str]) -> Architecture:
    """Zagoruyko and Komodakis 2016, table 1."""
    return _cifar(_blocks(m, 6, 4), 16 * int(m["K"]), _stage("basic"), pre=True)


def _cifar_resnext(m: re.Match[str]) -> Architecture:
    """Xie et al. 2017, section 5.3."""
    cardinality = int(m["C"])
    stage = _stage("bottleneck", cardinality * int(m["d"]) / 256, cardinality, bool(m["se"]))
    return _cifar(_blocks(m, 9), 256, stage, stem=64)


def _multi(m: re.Match[str]) -> Architecture:
    """Abdi and Nahavandi 2016: K branches a block. Bottlenecks for 9n+2, but basic blocks where a width is given."""
    bottleneck = m["W"] is None and int(m["depth"]) % 9 == 2
    stage = replace(_stage("bottleneck" if bottleneck else "basic"), branches=int(m["K"]))
    return _cifar(_blocks(m, 9 if bottleneck else 6), 64 if bottleneck else 16 * int(m["W"] or 1), stage, pre=True)


def _cifar(blocks: int, width: int, stage: Stage, pre: bool = False, shortcut: str = "B",
           stem: int = 16) -> Architecture:
    stages = tuple(replace(stage, depth=blocks, width=w) for w in (width, 2 * width, 4 * width))
    return Architecture(stages, stem_width=stem, order="pre" if pre else "post", shortcut=shortcut)


def _stage(block: str, ratio: float = 0.25, cardinality: int = 1, se: bool = False) -> Stage:
    return Stage(1, 16, block, bottleneck_ratio=ratio, cardinality=cardinality, shortcut_depth=_SPANS[block],
                 se_ratio=_SE_RATIO if se else 0.0)


def _blocks(m: re.Match[str], each: int, others: int = 2) -> int:
    """Blocks in each of the three stages of a network of depth `each` n + `others`. Raises `NasError`."""
    blocks, rest = divmod(int(m["depth"]) - others, each)
    if blocks > 0 and not rest:
        return blocks
    legal = [str(each * n + others) for n in (blocks, blocks + 1) if n > 0] or [str(each + others)]
    meant = f"; {said}" if (said := _confusable(m)) else ""
    raise NasError(f"{m.string}: depth must be {each}n+{others}: {' or '.join(legal)}{_beside(m)}{meant}")


def _beside(m: re.Match[str]) -> str:
    """What ImageNet's networks of the same form have."""
    names = {depth: m.string[:m.start("depth")] + str(depth) + m.string[m.end("depth"):] for depth in _IMAGENET}
    found = [str(depth) for depth, name in names.items() if (p := _parsed(name)) and p[1].data == "imagenet"]
    return f" (ImageNet's: {', '.join(found)})" if found else ""


def _check(name: str, architecture: Architecture) -> None:
    """Numbers can be of the right form and beyond what a knob takes."""
    for stage in architecture.stages:
        for knob in STAGE_KNOBS.values():
            value = getattr(stage, knob.name)
            try:
                knob.check(value)
            except ValueError as error:
                raise NasError(f"{name}: {knob.name} of a stage: {value:g}: {error}") from None
    if conflict := architecture.conflict():
        raise NasError(f"{name}: {conflict[1]}")


# --- the forms --------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class _Form:
    data: str
    pattern: str
    make: Callable[[re.Match[str]], Architecture]
    examples: str


def _n(name: str) -> str:
    return rf"(?P<{name}>[1-9][0-9]{{0,5}})"


_DEPTH, _SE, _D, _CIFAR = "(?P<depth>18|34|50|101|152)", "(?P<se>se_?)?", _n("depth"), "(cifar_)?"
_DEEP = "(?P<depth>50|101|152)"
_CXD = f"_{_n('C')}x{_n('d')}d"
_FORMS = (
    _Form("imagenet", f"{_SE}resnet{_DEPTH}", _resnet, "resnet18 resnet34 resnet50 resnet101 resnet152 se_resnet50"),
    _Form("imagenet", f"{_SE}resnext{_DEEP}{_CXD}", _resnext,
          "resnext50_32x4d resnext101_32x8d seresnext50_32x4d seresnext101_32x4d"),
    _Form("imagenet", f"wide_resnet{_DEEP}_{_n('K')}", _wide, "wide_resnet50_2 wide_resnet101_2"),
    _Form("cifar10", f"{_CIFAR}{_SE}(?P<pre>preact_(?P<bottleneck>bottleneck_)?)?resnet{_D}(?P<a>_a)?", _cifar_resnet,
          "resnet20 resnet56_a cifar_resnet50 preact_resnet110 preact_bottleneck_resnet164 se_resnet110"),
    _Form("cifar10", f"{_CIFAR}wrn_{_D}_{_n('K')}", _wrn, "wrn_28_10"),
    _Form("cifar10", f"{_CIFAR}{_SE}resnext{_D}{_CXD}", _cifar_resnext, "resnext29_8x64d"),
    _Form("cifar10", f"{_CIFAR}multi_resnet{_D}_{_n('K')}(_{_n('W')})?", _multi,
          "multi_resnet200_5 multi_resnet26_2_10"),
)
EXAMPLES = tuple(name for form in _FORMS for name in form.examples.split())
_IMAGES: dict[str, tuple[Shape, int]] = {"imagenet": ((3, 224, 224), 1000), "cifar10": ((3, 32, 32), 10)}
