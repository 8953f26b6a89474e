"""What a drawing of a network says: the rows of each distinct block, its shortcuts and its knobs, folded from the plan.

Stages whose blocks differ in their widths only share one `Group`; their numbers then stand side by side: 16/32/64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nas import nodes as p
from nas.architecture import Architecture, Stage

ACCENTS = ("#2f86c9", "#d55e00", "#009e73", "#b8629a")      # after Okabe and Ito; readable on light and on dark


@dataclass(frozen=True, slots=True)
class Row:
    """One box of a block: `label` has one {} for each of `numbers`, which may differ between stages."""

    kind: str                           # conv, slim, se, knob
    label: str
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Inside:
    """The inside of a stage's repeated block."""

    pre: tuple[Row, ...]
    branch: tuple[Row, ...]
    post: tuple[Row, ...]
    shortcut: bool

    @property
    def kind(self) -> tuple[object, ...]:
        """Equal for blocks that differ in their numbers only."""
        parts = (self.pre, self.branch, self.post)
        return (self.shortcut, *(tuple((row.kind, row.label) for row in rows) for rows in parts))


@dataclass(frozen=True, slots=True)
class Group:
    """Stages that one inset stands for."""

    accent: str
    numbers: tuple[int, ...]            # of the stages, from 1
    pre: tuple[Row, ...]
    branch: tuple[Row, ...]
    post: tuple[Row, ...]
    shortcuts: tuple[str, ...]          # lines; none for a plain network
    knobs: tuple[str, ...]
    carry: str                          # what the shortcut is multiplied with


def _rows(node: p.Node | None) -> list[Row]:
    match node:
        case None:
            return []
        case p.Sum():
            return [*_rows(node.branches[0]), Row(*node.words)]
        case p.Sequence() | p.Mixing():
            return [row for _, layer in node.parts for row in _rows(layer)]
        case _:
            return [Row(*node.words)]


def _merged(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Norms and activations in a row share one box."""
    merged: list[Row] = []
    for row in rows:
        if merged and row.kind == merged[-1].kind == "slim":
            merged[-1] = Row("slim", f"{merged[-1].label} · {row.label}")
        else:
            merged.append(row)
    return tuple(merged)


def _inside(block: p.Residual) -> _Inside:
    branch = _rows(block.branch)
    if block.scale != 1:
        branch.append(Row("knob", f"× α = {block.scale:g}"))
    if block.gate is not None and block.gate.transform is not None:
        branch.append(Row("knob", "× T(s)"))
    return _Inside(_merged(_rows(block.pre)), _merged(branch), _merged(_rows(block.post)), block.shortcut is not None)


def groups(architecture: Architecture, stages: Sequence[p.Sequence]) -> list[Group]:
    """One group for each distinct inside, in order of first appearance."""
    found: dict[tuple[object, ...], list[int]] = {}
    insides = [_inside(_block(stage, -1)) for stage in stages]
    knobs = [_knobs(stage, architecture.shortcut) for stage in architecture.stages]
    for index, inside in enumerate(insides):
        found.setdefault((inside.kind, knobs[index]), []).append(index)
    return [
        Group(
            accent=f"var(--nas-{i % len(ACCENTS) + 1}, {ACCENTS[i % len(ACCENTS)]})",
            numbers=tuple(index + 1 for index in members),
            pre=_joined([insides[index].pre for index in members]),
            branch=_joined([insides[index].branch for index in members]),
            post=_joined([insides[index].post for index in members]),
            shortcuts=_shortcuts([(index + 1, stages[index]) for index in members]),
            knobs=knobs[members[0]],
            carry=_CARRY.get(architecture.stages[members[0]].gate, ""),
        )
        for i, members in enumerate(found.values())
    ]


def _joined(stages: Sequence[tuple[Row, ...]]) -> tuple[Row, ...]:
    """The same rows with each number said for all stages: 16/32/64."""
    return tuple(
        Row(same[0].kind, same[0].label.format(*(
            "/".join(map(str, dict.fromkeys(numbers))) for numbers in zip(*(row.numbers for row in same), strict=True)
        )))
        for same in zip(*stages, strict=True))


def _block(stage: p.Sequence, index: int) -> p.Residual:
    block = stage.layers[index][1]
    assert isinstance(block, p.Residual)
    return block


def _shortcuts(stages: Sequence[tuple[int, p.Sequence]]) -> tuple[str, ...]:
    """The lines beside the shortcut: what it is, and in which first blocks it is something else."""
    usual = dict.fromkeys(_shortcut(_block(stage, -1)) for _, stage in stages if len(stage.layers) > 1)
    first: dict[str, list[int]] = {}
    for number, stage in stages:
        first.setdefault(_shortcut(_block(stage, 0)), []).append(number)
    alone = not usual and len(first) == 1
    parts = [label.split("\n") for label in usual]
    parts += [([] if alone else [f"first of {stage_names(numbers)}:"]) + label.split("\n")
              for label, numbers in first.items() if label not in usual]
    lines = [line for part in parts for line in (*part, "")][:-1]
    return tuple(lines) if any(lines) else ()


def _shortcut(block: p.Residual) -> str:
    match block.shortcut:
        case None:
            return ""
        case p.Identity():
            return "identity"
        case p.PadShortcut():
            return f"zero padding\n(A), stride {block.shortcut.stride}"
        case p.Sequence():
            conv = block.shortcut.layers[0][1]
            stride = [f"stride {conv.stride}"] if isinstance(conv, p.Conv) and conv.stride > 1 else []
            return "\n".join(["1×1 conv", *stride, *(["BN"] if len(block.shortcut.layers) > 1 else [])])
        case _:
            return str(block.shortcut.words.text)


def _knobs(stage: Stage, shortcut: str) -> tuple[str, ...]:
    """The stage's knobs in words, for the inset's caption."""
    spans = "1 conv" if stage.shortcut_depth == 1 else f"{stage.shortcut_depth} convs"
    words = [f"{stage.block} block", f"shortcut {shortcut} over {spans}"]
    if shortcut == "none":
        words = [f"{stage.block} block, {spans}", "no shortcut (plain)"]
    if stage.block != "basic":
        words.append(f"inner ratio {stage.bottleneck_ratio:.3g}")
        words.append(f"cardinality {stage.cardinality}")
    if stage.kernel != 3:
        words.append(f"kernel {stage.kernel}")
    if stage.residual_scaling != 1:
        words.append(f"residual scaling α = {stage.residual_scaling:.3g}")
    if stage.gate != "none":
        words += [f"{stage.gate} gate: {_GATES.get(stage.gate, stage.gate)}",
                  f"gate {stage.gate_kernel}×{stage.gate_kernel} conv, bias {stage.gate_bias:g}"]
    if stage.se_ratio:
        words.append(f"squeeze-excitation {stage.se_ratio:.3g}")
    return tuple(words)


_CARRY = {"highway": "× (1 − T)", "carry": "× C(s)", "full": "× C(s)"}
_GATES = {"highway": "s·(1 − T) + F·T", "transform": "s + F·T", "carry": "s·C + F", "full": "s·C + F·T"}


def stage_names(numbers: Sequence[int]) -> str:
    """Stages by number: stage 2; stages 1, 3; stages 1–4."""
    if len(numbers) == 1:
        return f"stage {numbers[0]}"
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"stages {numbers[0]}–{numbers[-1]}"
    return "stages " + ", ".join(map(str, numbers))
