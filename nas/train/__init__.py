"""The training room: one network in, its accuracy and its averaged weights out.

`Trainer` trains, `LevelTrainer` trains a network that grows, `accuracy_and_loss` evaluates, `choose` picks the numerics
that this machine is fastest in. Nothing here knows of searches, databases, Ray or files other than the kept speed
figures.
"""

from nas.train.data import Dataset, Preprocess, Split
from nas.train.evaluation import accuracy_and_loss
from nas.train.multilevel import LevelTrainer, grow
from nas.train.numerics import Numerics, choose, gpu_count, keep_memory, set_threads, speed, summary, usable
from nas.train.timing import epoch_time
from nas.train.trainer import Diverged, EpochResult, Trainer

__all__ = [
    "Dataset", "Diverged", "EpochResult", "LevelTrainer", "Numerics", "Preprocess", "Split", "Trainer",
    "accuracy_and_loss", "choose", "epoch_time", "gpu_count", "grow", "keep_memory", "set_threads", "speed", "summary",
    "usable",
]
