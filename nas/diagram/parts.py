"""What a drawing says of a network: the inside of each distinct block, folded from the plan into boxes and lanes.

A layer is the box of its own `words`; only layers of layers are known by name. Stages whose blocks differ in their
numbers only share one `Group`; the numbers then stand side by side: 16/32/64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from nas import nodes as n
from nas.architecture import STAGE_KNOBS, Architecture, Stage, written_out
from nas.cost import cost
from nas.knobs import Knob
from nas.own_block import CODE
from nas.units import human_count


@dataclass(frozen=True, slots=True)
class Part:
    """A box of a layer (form box), parts one after the other (stack), side by side (sum), or in two lanes that swap
    halves between their steps (swap: the parts are pairs of lanes). `text` has one {} for each of `numbers`.
    """

    form: str
    look: str = ""
    text: str = ""
    numbers: tuple[object, ...] = ()
    parts: tuple[Part, ...] = ()
    stride: int = 1
    note: str = ""                  # below the text: what differs in some blocks

    @property
    def kind(self) -> tuple[object, ...]:
        """Equal for parts that differ in their numbers only."""
        return (self.form, self.look, self.text, tuple(part.kind for part in self.parts))

    @property
    def words(self) -> str:
        """The text with its numbers."""
        return self.text.format(*self.numbers)


EMPTY = Part("stack")


def part_of(node: n.Node | None) -> Part:
    """The fold: what is drawn of a node."""
    match node:
        case None:
            return EMPTY
        case n.Sum():
            return Part("sum", parts=tuple(part_of(branch) for branch in node.branches))
        case n.Mixing():
            return Part("swap", parts=tuple(Part("pair", parts=(part_of(a), part_of(b))) for a, b in node.steps))
        case n.Sequence():
            return Part("stack", parts=_merged([part_of(layer) for _, layer in node.layers]))
        case _:
            look, text, numbers = node.words
            return Part("box", look, text, numbers, stride=max(1, round(node.shape[1] / node.out[1])))


def _merged(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Stacks in a stack lie open; norms and activations in a row share one box."""
    merged: list[Part] = []
    for part in parts:
        if part.form == "stack":
            merged = list(_merged([*merged, *part.parts]))
        elif merged and part.look == merged[-1].look == "slim":
            last = merged[-1]
            merged[-1] = replace(last, text=f"{last.text} · {part.text}", numbers=last.numbers + part.numbers,
                                 stride=last.stride * part.stride)
        else:
            merged.append(part)
    return tuple(merged)


def words_of(node: n.Node | None, separator: str = " · ") -> str:
    """All boxes of a node in one line."""
    return separator.join(box.words for box in boxes(part_of(node)))


def boxes(part: Part) -> Iterator[Part]:
    """The boxes in the order of the plan."""
    if part.form == "box":
        yield part
    for inner in part.parts:
        yield from boxes(inner)


@dataclass(frozen=True, slots=True)
class Way:
    """What some of the shortcuts of a group are. `of`: which blocks, where not all of them have it."""

    of: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Stages that one inset stands for, and their repeated block."""

    numbers: tuple[int, ...]            # of the stages, from 1
    title: str
    about: tuple[str, ...]              # sentences below the title
    pre: Part
    branch: Part                        # F, then its factors: alpha, stochastic depth
    post: Part
    ways: tuple[Way, ...]               # none for a plain network
    transform: Part                     # the convolution of T, or EMPTY
    carry: Part                         # that of C, or EMPTY
    coupled: bool                       # C = 1 - T

    @property
    def gated(self) -> bool:
        """Whether anything multiplies at the sum."""
        return any(gate != EMPTY for gate in (self.transform, self.carry))


def groups(architecture: Architecture, stages: Sequence[n.Sequence]) -> list[Group]:
    """One group for each distinct inside, in order of first appearance."""
    found: dict[tuple[object, ...], list[int]] = {}
    for index, stage in enumerate(stages):
        key = (architecture.stages[index].block, *(part.kind for part in _insides(_block(stage, -1))))
        found.setdefault(key, []).append(index)
    return [_group(architecture, [(index + 1, stages[index]) for index in members]) for members in found.values()]


def _group(architecture: Architecture, members: Sequence[tuple[int, n.Sequence]]) -> Group:
    usual = [_block(stage, -1) for _, stage in members]
    numbers = tuple(number for number, _ in members)
    knobs = [architecture.stages[number - 1] for number in numbers]
    pre, branch, post, transform, carry = (
        _joined(same) for same in zip(*(_insides(block) for block in usual), strict=True))
    branch = Part("stack", parts=_merged([_strided(branch, members), _dropped(members)]))
    coupled = usual[0].gate is not None and usual[0].gate.kind == "highway"
    about = (_formula(usual[0], coupled), _spoken(knobs, architecture.shortcut), _each(usual), *_loans(branch))
    title = f"{block_name(knobs[0])} block of {stage_names(numbers)}"
    return Group(numbers, title, about, pre, branch, post, _ways(members), transform, carry, coupled)


def _block(stage: n.Sequence, index: int) -> n.Residual:
    block = stage.layers[index][1]
    assert isinstance(block, n.Residual)
    return block


def _insides(block: n.Residual) -> tuple[Part, Part, Part, Part, Part]:
    """Pre, branch with alpha, post, and the gates."""
    alpha = Part("box", "knob", "× α = {}", (f"{block.scale:.3g}",)) if block.scale != 1 else EMPTY
    gate = dict(block.gate.parts) if block.gate is not None else {}
    branch = Part("stack", parts=_merged([part_of(block.branch), alpha]))
    return (part_of(block.pre), branch, part_of(block.post),
            _gate("T", gate.get("transform")), _gate("C", gate.get("carry")))


def _gate(letter: str, conv: n.Node | None) -> Part:
    if conv is None:
        return EMPTY
    look, text, numbers = conv.words
    return Part("box", look, f"{letter} = σ({text}), bias from {conv.call.options['bias_init']:g}", numbers)


def _joined(same: Sequence[Part]) -> Part:
    """Parts of one kind as one, with each number said for all stages: 16/32/64."""
    numbers = ["/".join(map(str, dict.fromkeys(each)))
               for each in zip(*(part.numbers for part in same), strict=True)]
    inner = tuple(_joined(parts) for parts in zip(*(part.parts for part in same), strict=True))
    return replace(same[0], numbers=tuple(numbers), parts=inner, stride=1)


# --- what differs from block to block -------------------------------------------------------------------------------

def _strided(branch: Part, members: Sequence[tuple[int, n.Sequence]]) -> Part:
    """`branch` with notes on the boxes that stride in the first blocks."""
    firsts = {number: [box.stride for box in boxes(part_of(_block(stage, 0).branch)) if box.look != "slim"]
              for number, stage in members}
    lone = all(len(stage.layers) == 1 for _, stage in members)
    notes = []
    for index in range(max(len(strides) for strides in firsts.values())):
        found: dict[int, list[int]] = {}
        for number, strides in firsts.items():
            if index < len(strides) and strides[index] > 1:
                found.setdefault(strides[index], []).append(number)
        notes.append(", ".join(f"{_first(at, members, lone)}stride {stride}" for stride, at in found.items()))
    return _noted(branch, iter(notes))


def _first(at: Sequence[int], members: Sequence[tuple[int, n.Sequence]], lone: bool) -> str:
    if len(at) == len(members):
        return "" if lone else "first block: " if len(at) == 1 else "first blocks: "
    return f"{stage_names(at) if lone else 'first of ' + stage_names(at, '')}: "


def _noted(part: Part, notes: Iterator[str]) -> Part:
    if part.form == "box":
        return replace(part, note=next(notes, "")) if part.look not in ("slim", "knob") else part
    return replace(part, parts=tuple(_noted(inner, notes) for inner in part.parts))


def _dropped(members: Sequence[tuple[int, n.Sequence]]) -> Part:
    """Stochastic depth: its rates from the first block to the last."""
    rates = [layer.drop for _, stage in members for _, layer in stage.layers if isinstance(layer, n.Residual)]
    if not any(rates):
        return EMPTY
    ends = dict.fromkeys(f"{rate:.2g}" for rate in (min(rates), max(rates)))
    return Part("box", "drop", f"stochastic depth {'–'.join(ends)}")


def _ways(members: Sequence[tuple[int, n.Sequence]]) -> tuple[Way, ...]:
    """What the shortcuts are: of most blocks first, then of those first blocks that have another."""
    found: dict[tuple[str, ...], list[tuple[int, bool, tuple[str, ...]]]] = {}
    for number, stage in members:
        for block, first in ((_block(stage, -1), len(stage.layers) == 1), (_block(stage, 0), True)):
            if block.shortcut is not None:
                kind, lines = _way(block, _block(stage, -1))
                found.setdefault(kind, []).append((number, first, lines))
    ways = []
    for uses in found.values():
        some = len(found) > 1 and all(first for _, first, _ in uses)
        of = _of(sorted({number for number, _, _ in uses}), members) if some else ""
        ways.append(Way(of, _said([lines for _, _, lines in uses])))
    return tuple(sorted(ways, key=lambda way: bool(way.of)))


def _of(numbers: Sequence[int], members: Sequence[tuple[int, n.Sequence]]) -> str:
    return "first block:" if len(members) == 1 else f"first of {stage_names(numbers)}:"


def _way(block: n.Residual, usual: n.Residual) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is equal for shortcuts that differ in their numbers only; its lines."""
    found = list(boxes(part_of(block.shortcut)))
    strides = [f", stride {box.stride}" if box.stride > 1 and "stride" not in box.text else "" for box in found]
    own = block.pre is not None and usual.pre is None
    before = [f"{words_of(block.pre)} before the fork"] if own else []
    kind = (*before, *(box.text + stride for box, stride in zip(found, strides, strict=True)))
    return kind, (*before, *(box.words + stride for box, stride in zip(found, strides, strict=True)))


def _said(ways: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Lines of one kind as one, with what differs side by side: 1×1 conv, 128/256."""
    return tuple(
        ", ".join("/".join(dict.fromkeys(words)) for words in zip(*(line.split(", ") for line in same), strict=True))
        for same in zip(*ways, strict=True))


# --- sentences ------------------------------------------------------------------------------------------------------

def _formula(block: n.Residual, coupled: bool) -> str:
    """y of a block's input, of its shortcut s and its branch F."""
    gates = dict(block.gate.parts) if block.gate is not None else {}
    branch = ("α·" if block.scale != 1 else "") + "F" + ("·T" if "transform" in gates else "")
    carry = "s·(1 − T)" if coupled else "s·C" if "carry" in gates else "s"
    y = branch if block.shortcut is None else f"{carry} + {branch}"
    return f"y = {block.post.words.text}({y})" if block.post is not None else f"y = {y}"


def _spoken(stages: Sequence[Stage], shortcut: str) -> str:
    """The knobs that are not as usual, by their names in a file."""
    words = ["no shortcut: a plain network" if shortcut == "none" else f"shortcut {shortcut}"]
    for name, knob in STAGE_KNOBS.items():
        values = [getattr(stage, name) for stage in stages]
        if name not in ("depth", "width", "block") and any(_unusual(knob, stage) for stage in stages):
            words.append(f"{name.replace('_', ' ')} {'/'.join(dict.fromkeys(_short(value) for value in values))}")
    options = [f"{name} {_short(value)}" for stage in stages for name, value in stage.options if name != CODE]
    return ", ".join([*words, *dict.fromkeys(options)])


def _unusual(knob: Knob, stage: Stage) -> bool:
    values = stage.values()
    matters = knob.matters is None or knob.matters(values)
    return matters and values[knob.name] != written_out(knob, knob.unwritten, values)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _each(blocks: Sequence[n.Residual]) -> str:
    """What one of the repeated blocks costs."""
    costs = [cost(block) for block in blocks]
    params, macs = ("/".join(dict.fromkeys(human_count(one) for one in each))
                    for each in ([one.params for one in costs], [one.macs for one in costs]))
    return f"a block: {params} params, {macs} MACs"


def _loans(branch: Part) -> tuple[str, ...]:
    lent = any(box.look == "lent" for box in boxes(branch))
    return ("dashed: one set of weights for all blocks of one shape",) if lent else ()


def block_name(stage: Stage) -> str:
    """The kind of block; a user's without its module."""
    return stage.block.rpartition(":")[2]


def stage_names(numbers: Sequence[int], word: str = "stage") -> str:
    """Stages by number: stage 2; stages 1, 3; stages 1–4; without the word where it is empty."""
    plural = f"{word}s " if word else ""
    if len(numbers) == 1:
        return f"{word} {numbers[0]}".strip()
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{plural}{numbers[0]}–{numbers[-1]}"
    return plural + (" and " if len(numbers) == 2 else ", ").join(map(str, numbers))
