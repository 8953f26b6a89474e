"""A network to look at: folds over its plan into an indented text and into an SVG drawing. No torch.

`text(plan)` tells everything, so that two plans are equal where their texts are. `svg(architecture, shape, classes)`
shows what a person wants to see: stem, stages with depth, width and resolution, the inside of each distinct block.
"""

from nas.diagram.drawing import svg
from nas.diagram.tree import text

__all__ = ["svg", "text"]
