"""The sections of a study file other than its space, as strict pydantic models: data, recipe, search, budget.

Every field has a default that suits a first run, a unit in its description and a bound; unknown keys are refused.
`nas schema` prints these descriptions; `nas.study` reads a file into them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)


class Section(BaseModel):
    """A frozen, strict section of a study file: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


KEPT = ":head"      # of recipe.start: the classifier keeps its weights, too


class Data(Section):
    """What to train and validate on. The test part is never read by a search."""

    source: str = Field("digits", min_length=1, description=(
        "digits, cifar10, cifar100, mnist, fashion_mnist, or a path to a folder or archive of images by class"))
    resolution: int | None = Field(None, ge=4, le=1024, description="pixels a side; default: the source's own")
    channels: Literal[1, 3] | None = Field(None, description="1 grey, 3 colour; default: the source's own")
    train: int | None = Field(None, ge=10, description="training images to use, stratified; default: all")
    validation: float = Field(0.2, gt=0, lt=1, description="share of the training part held out for validation")
    seed: int = Field(0, ge=0, lt=2**32, description="of the split; the same seed gives the same split everywhere")


class Recipe(Section):
    """How a network is trained. The default is an anytime schedule, so that epochs compare across trials."""

    epochs: int = Field(20, ge=1, le=10_000, description="of a full training")
    batch_size: int | None = Field(None, ge=2, le=65_536, description=(
        "images a step; default: 64, or 128 from 5,000 training images"))
    schedule: Literal["constant", "one_cycle"] = Field("constant", description=(
        "constant: warm-up, then a constant rate, evaluated on averaged weights (for the search); "
        "one_cycle: warm-up, then cosine to zero (for a final training)"))
    levels: int = Field(0, ge=0, le=8, description=(
        "interpolations of multi-level training (Chang et al. 2018); 0: none; k: k + 1 networks in turn, each as "
        "deep again as the one before with half its residual_scaling, the last one the network itself"))
    learning_rate: float = Field(0.1, gt=0, le=10, description="peak rate of SGD with Nesterov momentum")
    warmup_epochs: float = Field(1.0, ge=0, le=100, description="linear warm-up, in epochs")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum")
    weight_decay: float = Field(5e-4, ge=0, le=1, description="on weights; none on biases, and on norms as below")
    decay_norms: bool = Field(False, description="whether weight decay acts on the scales and shifts of norms, too")
    averaging: float = Field(1.0, ge=0, le=100, description=(
        "time constant, in epochs, of the exponential average of the weights that is evaluated; 0: none"))
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    clip: float = Field(5.0, ge=0, description="largest norm of the gradient; 0: no clipping")
    crop: int = Field(-1, ge=-1, le=64, description=(
        "padding in pixels of the random crop; -1: an eighth of the resolution; 0: none"))
    flip: bool | None = Field(None, description="random horizontal flip; default: what suits the data")
    cutout: float = Field(0.0, ge=0, lt=1, description="side of the erased square as a share of the image; 0: none")
    mixup: float = Field(0.0, ge=0, le=10, description=(
        "alpha of mixup (Zhang et al. 2018): a batch's images are mixed in pairs, by a share from Beta(alpha, alpha); "
        "0: none"))
    cutmix: float = Field(0.0, ge=0, le=10, description=(
        "alpha of CutMix (Yun et al. 2019): a box of each image is pasted over from another one, its share of the area "
        "from Beta(alpha, alpha); 0: none; beside mixup each batch gets one of the two at random"))
    flip_test: bool = Field(False, description=(
        "whether networks are evaluated by the mean of the logits of an image and of its mirror image"))
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: the faster, measured once")
    start: str = Field("", pattern=rf"^([0-9a-f]{{64}}({KEPT})?)?$", description=(
        "SHA-256 of the weights to begin with, in place of new ones; with :head that of its classifier, too; written "
        "by nas train --from"))

    @field_validator("levels")
    @classmethod
    def _an_epoch_each(cls, levels: int, info: ValidationInfo) -> int:
        if levels >= info.data.get("epochs", levels + 1):
            raise ValueError(f"must be less than recipe.epochs, {info.data['epochs']}: each level takes an epoch")
        return levels

    def batch(self, images: int) -> int:
        """Images a step of a training on `images`. Small networks are bound by their steps, not by their MACs."""
        return self.batch_size or (128 if images >= 5_000 else 64)


FINAL: Mapping[str, Any] = {"schedule": "one_cycle"}
"""What the recipe of a final training (`nas train`) has for a default instead, for fields that its file leaves out.

Measured with ResNet-20 on CIFAR-10, 10,000 images of 16 x 16, 8 epochs: validation error 0.431 (6 seeds, standard
deviation 0.008); 0.449 with label smoothing 0.1 (2 seeds), 0.459 at a rate of 0.05 (3), 0.428 without averaging (3),
0.431 with weight decay 1e-3 (2): no gain. A rate of 0.4 gives 0.401 (3), but with 5,000 images of 32 x 32 it is 0.469
for 0.422 (1), and of 15 networks of the shipped spaces, on digits, one diverges at 0.2: so the rate is left as it is.
"""


class EarlyStopping(Section):
    """Successive halving over epochs among networks of similar MACs."""

    kind: Literal["halving", "none"] = Field("halving", description="none: every network is trained to the end")
    first: int = Field(3, ge=1, description="epochs at the first rung; three rank nearly as well as twelve")
    last: int | None = Field(None, ge=1, description="no rung after this epoch; default: rungs up to the end")
    eta: float = Field(3.0, gt=1, le=10, description="a rung keeps one network in eta; rungs are eta apart")


def _share(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except ValidationError:
        raise ValueError("must be a number from 0 to 64, or auto") from None


Share = Annotated[Annotated[float, Field(ge=0, le=64)] | Literal["auto"] | None, WrapValidator(_share)]


class Search(Section):
    """How points are proposed, stopped early and executed."""

    sampler: Literal["random", "tpe", "nsga2", "nsga3", "gp", "cmaes", "qmc", "grid"] = Field(
        "tpe", description="who proposes points")
    latency: Literal["measured", "table"] = Field("measured", description=(
        "where the objective latency_ms comes from; measured: after each training; table: predicted before it, by "
        "what nas measure --table keeps"))
    early_stopping: EarlyStopping = EarlyStopping()
    repeats: int = Field(1, ge=1, le=100, description=(
        "seeds that each network trained to the end is trained with; its accuracy is their mean"))
    keep: Literal["front", "all", "none"] = Field("front", description=(
        "whose weights are kept: those on or near the front, all, none"))
    quota: int | None = Field(None, ge=0, description=(
        "size of the weights kept, e.g. 20GB (bytes); those that are worth least give way"))
    artifacts: str | None = Field(None, description=(
        "folder or fsspec URL that all workers reach, for trainings on the way and copies of the weights; default: "
        "each machine's cache, and none"))
    start: str | None = Field(None, description="exported folder that holds the weights of recipe.start")
    executor: Literal["ray", "local"] = Field("ray", description="local: in this process, without Ray")
    workers: int | None = Field(None, ge=1, le=10_000, description="parallel trials; default: fits the machine")
    gpus_per_trial: Share = Field(None, description=(
        "share of a GPU a trial takes; auto: what the largest network needs, measured"))
    address: str | None = Field(None, description="of a running Ray cluster, e.g. auto; default: start one here")


class Candidate(Section):
    """Why a network is among those that are confirmed."""

    role: Literal["front", "near", "control"] = Field(description=(
        "front: on the front of the search; near: within its noise; control: drawn at random, at the cost of another"))
    trial: int | None = Field(None, ge=0, description="of the search")
    accuracy: float | None = Field(None, description="in the search, on the validation part")
    beside: str | None = Field(None, description="of a control: the network whose cost it has")


class Confirmation(Section):
    """A front trained again in full, with several seeds; every training is then read once on the test part."""

    study: str = Field("", description="the search whose networks these are")
    top: int | None = Field(None, ge=1, description="how many were asked for; default: the front and what is near it")
    control: int = Field(0, ge=0, description="networks drawn at random beside them")
    networks: dict[str, Candidate] = Field({}, description="by their names under networks")


class Budget(Section):
    """When to stop: after so many trials, or so much time, whichever comes first."""

    trials: int | None = Field(None, ge=1, description="trials in all; infeasible points are free")
    time: float | None = Field(None, gt=0, description="search time in all, e.g. 30m, 12h, 90s (seconds)")
