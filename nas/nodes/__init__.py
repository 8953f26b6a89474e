"""The kinds of layers that networks are made of, each with its shapes, its exact cost, its module and its words.

A node says everything of its layer once; `nas.cost`, `nas.model` and `nas.diagram` are folds that know no kind by name,
so a new kind of layer is one class here and its module in `nas.model.layers`. How knobs become nodes stands in
`nas.plan` and `nas.blocks`. No torch.

Shapes are (channels, height, width) of one image. Nodes compare by identity: equal parts of a network are the same
object (blocks are cached), which is what lets a fold remember them; compare plans by `nas.diagram.text`.
"""

from nas.nodes.base import (
    Argument,
    Call,
    Cost,
    Node,
    Shape,
    Words,
    strided,
)
from nas.nodes.layers import (
    ACTIVATIONS,
    ATTENTIONS,
    NORMS,
    Activation,
    Borrowed,
    ChannelAttention,
    Conv,
    Dropout,
    Gain,
    Head,
    Identity,
    MaxPool,
    Norm,
    Opaque,
    PadShortcut,
    SqueezeExcitation,
)
from nas.nodes.tree import (
    Gate,
    Memory,
    Mixing,
    Residual,
    Sequence,
    Sum,
    Unrolled,
    chain,
)

__all__ = [
    "ACTIVATIONS",
    "ATTENTIONS",
    "NORMS",
    "Activation",
    "Argument",
    "Borrowed",
    "Call",
    "ChannelAttention",
    "Conv",
    "Cost",
    "Dropout",
    "Gain",
    "Gate",
    "Head",
    "Identity",
    "MaxPool",
    "Memory",
    "Mixing",
    "Node",
    "Norm",
    "Opaque",
    "PadShortcut",
    "Residual",
    "Sequence",
    "Shape",
    "SqueezeExcitation",
    "Sum",
    "Unrolled",
    "Words",
    "chain",
    "strided",
]
