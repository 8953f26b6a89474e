"""The data room: from `settings.Data` to memory-mapped uint8 arrays, split once and shared by all workers of
a node.

`describe` says what a data set is (classes, shape, counts) without decoding it; `obtainable` refuses one that
cannot be had; `load` hands back the splits.
This room knows nothing of torch, augmentation, normalisation or batches: that is the trainer's.
"""

from nas.data.dataset import describe, load, located, obtainable
from nas.data.values import DataInfo, Dataset, Split

__all__ = ["DataInfo", "Dataset", "Split", "describe", "load", "located", "obtainable"]
