"""The systems of the family, each with its checks: one explicit table. How anything is measured stands beside it."""

from __future__ import annotations

from collections.abc import Callable

from nas.architecture import Architecture, Stage
from nas.verify import counts, formula, hessian, paths, starts, trained
from nas.verify.claims import Check, Finding, Tier
from nas.verify.counts import count, params_only, spelled
from nas.verify.formula import as_written
from nas.verify.networks import chain, pyramid

HE, HE2, LIAO, VEIT = "He et al. 2015", "He et al. 2016", "Liao and Poggio 2016", "Veit et al. 2016"
SZEGEDY, LI, GREFF = "Szegedy et al. 2016", "Li et al. 2016", "Greff et al. 2017"
BALDUZZI, COHEN, CHANG = "Balduzzi et al. 2017", "Cohen et al. 2018", "Chang et al. 2018"
HU, LITTWIN, HUANG = "Hu et al. 2018", "Littwin and Wolf 2016", "Huang et al. 2016"
ABDI, XIE, ZAGORUYKO = "Abdi and Nahavandi 2016", "Xie et al. 2017", "Zagoruyko and Komodakis 2016"
MONIZ, SRIVASTAVA = "Moniz and Pal 2016", "Srivastava et al. 2015"


def exact(claim: str, source: str, measure: Callable[[], Finding]) -> Check:
    """In seconds, to the last digit or to rounding."""
    return Check(Tier.exact, claim, source, measure)


def init(claim: str, source: str, measure: Callable[[], Finding]) -> Check:
    """Of networks as they start."""
    return Check(Tier.init, claim, source, measure)


def learned(claim: str, source: str, measure: Callable[[trained.Lab], Finding]) -> Check:
    """Of networks that are trained here."""
    return Check(Tier.trained, claim, source, measure)


def _imagenet(**stage: object) -> Architecture:
    """ResNet-50 with other stages."""
    stages = tuple(Stage(depth, width, "bottleneck", shortcut_depth=3, **stage)     # type: ignore[arg-type]
                   for depth, width in zip((3, 4, 6, 3), (256, 512, 1024, 2048), strict=True))
    return Architecture(stages, stem="conv7x7_pool", stem_width=64)


_BOTTLENECK = {"block": "bottleneck", "shortcut_depth": 3}

SYSTEMS: dict[str, tuple[Check, ...]] = {
    "resnet": (
        count("resnet18", 11_689_512, 1_814_073_344),
        count("resnet34", 21_797_672, 3_663_761_408),
        count("resnet50", 25_557_032, 4_089_184_256),
        count("resnet50", 25_557_032, 3_857_973_248, stride_in="conv1x1"),
        count("resnet101", 44_549_160, 7_801_405_440),
        count("resnet20_a", 269_722, 40_551_040),
        count("resnet20", 272_474, 40_813_184),
        count("resnet56_a", 853_018, 125_485_696),
        count("resnet56", 855_770, 125_747_840),
        count("resnet110_a", 1_727_962, 252_887_680),
        count("resnet110", 1_730_714, 253_149_824),
        exact("90 classes more add 90 (C + 1) params, 90 C MACs", HE, counts.more_classes),
        exact("shortcut A samples, pads with zeros, and has no weights", HE, formula.padded_shortcut),
        exact("projections of shortcuts A, B, C, none", HE, formula.projections),
        as_written("basic and bottleneck, A, B, C, none", HE, *(
            pyramid(2, 8, 16, shortcut=shortcut) for shortcut in ("A", "B", "C", "none")),
            pyramid(2, 8, 16, stage=_BOTTLENECK), pyramid(2, 8, 16, stage=_BOTTLENECK, stride_in="conv1x1"),
            pyramid(2, 8, 16, stem="conv7x7_pool")),
        as_written("inverted bottlenecks, other norms and activations", "Sandler et al. 2018", *(
            pyramid(2, 8, 16, stage={**_BOTTLENECK, "block": "inverted", "cardinality": 0, "bottleneck_ratio": 4.0},
                    norm=norm, activation=activation)
            for norm, activation in (("batch", "relu"), ("group", "silu"), ("layer", "gelu"), ("none", "identity")))),
    ),
    "preact_resnet": (
        count("preact_resnet110", 1_730_522, 253_149_824),
        spelled("preact_resnet110, shortcut A",
                pyramid(18, 16, 32, 64, order="pre", shortcut="A"), 1_727_962, 252_887_680),
        count("preact_bottleneck_resnet164", 1_703_258, 247_646_720),
        exact("no ReLU after the sum: what passes -3 + 0", HE2, formula.negative_passes),
        as_written("order pre, shared norm-ReLU, norm-ReLU before pooling", HE2, *(
            pyramid(2, 8, 16, order="pre", shortcut=shortcut) for shortcut in ("A", "B", "C", "none")),
            pyramid(2, 8, 16, stage=_BOTTLENECK, order="pre")),
    ),
    "recurrent_resnet": (
        exact("convolution weights at depths 1, 2, 4, 8, 16 are one block's", LIAO, counts.shared_weights_by_depth),
        exact("norm weights at depths 1, 2, 4, 8, 16 grow linearly", LIAO, counts.norms_by_depth),
        exact("a downsampling block keeps its own convolutions", LIAO, counts.downsampling_keeps_its_own),
        exact("logits, and gradients of shared weights, as of unshared steps, summed", LIAO, paths.shared_gradients),
        as_written("shared stages with gates and SE of each step", LIAO,
                   pyramid(3, 8, 16, stage={"share": "stage", "gate": "highway", "se_ratio": 0.5}),
                   pyramid(3, 8, 16, stage={"share": "stage", "branches": 2}, order="pre")),
        learned("S: shared less unshared at equal depth, points of error", LIAO, trained.sharing),
    ),
    "lesion": (
        exact("6 blocks are 2^6 paths, C(6, r) of r branches", VEIT, paths.path_lengths),
        exact("gradients of the 2^4 paths add up to the whole; how many there are", VEIT, paths.path_sum),
        exact("beta^r a path: the gradient's mean path has n beta/(1 + beta) branches", VEIT, paths.gradient_lengths),
        learned("a block deleted, median rise of the error in points, residual", VEIT, trained.lesion_of_residual),
        learned("a block deleted, median rise of the error in points, plain", VEIT, trained.lesion_of_plain),
    ),
    "residual_memory": (
        exact("weights of the LSTM: 4 (DH + H^2 + 2H)", MONIZ, counts.lstm_weights),
        as_written("an LSTM over the means of all blocks, its last state to the classifier", MONIZ,
                   pyramid(2, 8, 16, memory=8), pyramid(3, 8, 16, 16, memory=12, order="pre"),
                   pyramid(2, 8, 16, memory=8, shortcut="A", stage={"share": "stage"})),
        init("gradient at the first block, memory on by memory off", MONIZ, starts.memory_gradient),
    ),
    "inception_resnet_scaling": (
        exact("y = s + alpha F, forced, alpha 1, .1, .2, .3, 2.5", SZEGEDY, formula.alphas),
        exact("alpha = 1/sqrt(L), L all 9 blocks", SZEGEDY, formula.alpha_of_depth),
        as_written("alpha 0.1 to 0.3, ReLU after the sum, no norm on it", SZEGEDY, *(
            pyramid(2, 8, 16, stage={"residual_scaling": alpha}, order=order)
            for alpha, order in ((0.1, "post"), (0.3, "pre"), (0.2, "post")))),
        init("variance without norms grows by 1 + s^2 a block, s = 1, .1; whole at .1", SZEGEDY,
             starts.variance_without_norms),
        init("variance with norms after 20 blocks: 1 + s^2 L, s = 1, .3", SZEGEDY, starts.variance_with_norms),
        init("alpha = 1/sqrt(L): variance does not grow with depth (10, 40; norms and none)", SZEGEDY,
             starts.variance_of_depth),
    ),
    "multi_residual": (
        params_only("multi_resnet200_5", 10_187_354, ABDI),
        params_only("multi_resnet398_5", 20_388_314, ABDI),
        params_only("multi_resnet26_2_10", 72_690_714, ABDI),
        params_only("multi_resnet26_4_10", 145_113_754, "counted; the published 154M is a slip"),
        exact("y = s + k F, and s + sqrt(k) F at alpha = 1/sqrt(k); k = 1, 2, 5", ABDI, formula.branch_sum),
        exact("each of 3 functions has norms of its own", ABDI, formula.own_norms),
        as_written("k functions, also with cardinality", ABDI, pyramid(2, 8, 16, stage={"branches": 3}),
                   pyramid(2, 8, 16, stage={"branches": 2, **_BOTTLENECK, "cardinality": 2}, order="pre"),
                   pyramid(2, 8, 16, stage={"branches": 4, "residual_scaling": "1/sqrt(k)"})),
        init("variance after 10 blocks of 4 functions: 1 + kL; 11 at 1/sqrt(k)", ABDI, starts.variance_of_branches),
    ),
    "loss_surface": (
        exact("argmax C(p-1, r-1) beta^r by p tends to beta/(1+beta); beta .1, .3, 1", LITTWIN, paths.likeliest_length),
        exact("effective depth of a linear chain by its depth: beta/(1+beta)", LITTWIN, paths.depth_of_chain),
        init("effective depth / depth at 6, 12, 24 blocks falls", LITTWIN, starts.depth_share),
        learned("effective depth rises with training: before, after", LITTWIN, trained.depth_rises),
    ),
    "n_shortcut": (
        exact("n = 1: condition number at 2, 4, 6 convolutions grows (42.8, 291, 1020 in the specification, for "
              "another target)", LI, hessian.shortcut_of_one),
        exact("n = 2: condition number at 4, 8, 12 is cond(Sigma_yx - Sigma_xx)", LI, hessian.shortcut_of_two),
        exact("n = 3, 4: the Hessian is zero", LI, hessian.shortcut_of_three),
        as_written("shortcuts over 1 to 4 convolutions", LI, *(
            pyramid(2, 8, 16, stage={"shortcut_depth": n}, order=order, activation=activation)
            for n, order, activation in ((1, "post", "relu"), (3, "pre", "relu"), (4, "post", "identity"))),
            pyramid(2, 8, 16, stage={**_BOTTLENECK, "shortcut_depth": 5})),
        init("without norms a block doubles the variance at n = 1, 2, 3, 4", LI, starts.variance_of_spans),
    ),
    "wide_resnet": (
        count("wrn_16_4", 2_748_890, 392_612_352),
        count("wrn_28_10", 36_479_194, 5_243_328_768),
        count("wide_resnet50_2", 68_883_240, 11_398_021_120),
        exact("zeros that convolutions 1, 2 take in at dropout .3, training and not; the kept by 1/(1 - p)",
              ZAGORUYKO, formula.dropout_place),
        as_written("pre-activation, widened, with dropout", ZAGORUYKO,
                   pyramid(2, 16, 32, stage={"dropout": 0.3}, order="pre")),
    ),
    "resnext": (
        count("resnext50_32x4d", 25_028_904, 4_230_479_872),
        count("resnext101_32x8d", 88_791_336, 16_414_015_488),
        count("resnext29_8x64d", 34_426_698, 5_387_266_048),
        count("resnext29_1x64d", 4_914_250, 748_365_824),
        count("resnext29_2x40d", 4_879_626, 754_788_352),
        count("resnext29_4x24d", 4_845_002, 761_210_880),
        count("resnext29_8x14d", 4_901_098, 780_904_448),
        count("resnext29_32x4d", 4_775_754, 774_055_936),
        spelled("resnext50_32x4d by its base width", _imagenet(cardinality=32, base_width=4), 25_028_904,
                4_230_479_872),
        exact("weights of blocks (d, C) of equal complexity", XIE, counts.equal_complexity),
        exact("inner width C floor(planes d / 64)", XIE, counts.base_width),
        as_written("grouped 3x3 convolutions", XIE, *(
            pyramid(2, 16, 32, stage={**_BOTTLENECK, "cardinality": c, "bottleneck_ratio": 0.5}, order=order)
            for c, order in ((2, "post"), (4, "pre"), (0, "post")))),
        learned("S: cardinality 8 less 1 at equal MACs, points of error", XIE, trained.cardinality),
    ),
    "highway": (
        exact("y = (1 - T) s + T F, forced, b = -3, -1, 0, 2", SRIVASTAVA, formula.highway_gate),
        exact("transform, carry and full gates, forced", SRIVASTAVA, formula.other_gates),
        exact("weights of gates of 1x1 and 3x3: k^2 C^2 + C each", SRIVASTAVA, counts.gate_weights),
        exact("T starts at sigmoid(b_T), b_T = -1, -2, -3", SRIVASTAVA, formula.gate_start),
        as_written("all gates, 1x1 and 3x3, at strides of the projected x", SRIVASTAVA, *(
            pyramid(2, 8, 16, stage={"gate": gate, "gate_kernel": kernel, "gate_bias": -2.0}, order=order)
            for gate, kernel, order in (("highway", 1, "post"), ("highway", 3, "pre"), ("transform", 1, "pre"),
                                        ("carry", 3, "post"), ("full", 1, "post")))),
        init("mean of T over units near sigmoid(b), b = -3, -2, -1", SRIVASTAVA, starts.gates_at_start),
        learned("distance to the stage's output falls, residual", GREFF, trained.estimation_of_residual),
        learned("and stays flat in a plain network", GREFF, trained.estimation_of_plain),
    ),
    "looks_linear": (
        exact("f(x + y) + f(0) - f(x) - f(y) at initialisation", BALDUZZI, starts.linear_at_start),
        as_written("CReLU, pre-activation", BALDUZZI, pyramid(2, 8, 16, **starts.LINEAR),
                   pyramid(2, 8, 16, **{**starts.LINEAR, "shortcut": "A"} | {"stem_width": 4})),
        init("correlation of input gradients, L = 8: plain, residual 1, .1, looks-linear", BALDUZZI,
             starts.correlations),
        init("it halves with each plain layer, (1 + L)^-1/2 with shortcuts; L = 2, 4, 8", BALDUZZI,
             starts.correlation_by_depth),
    ),
    "dilated_mixing": (
        exact("least rank of the grid tensor over both splits: trees (1, 2), (2, 1), mixed", COHEN, paths.grid_ranks),
        exact("where an impulse at 6 goes: stays 1 + 2, swaps 1 + 1 and 2 + 2", COHEN, paths.mixing_dilations),
        exact("which factors meet: 2x5 + 3x7, swapped 2x7 + 3x5", COHEN, paths.mixing_swaps),
        as_written("mixing and dilation", COHEN, pyramid(2, 8, 16, stage={"mixing": "dilated"}),
                   pyramid(2, 8, 16, stage={"mixing": "dilated", "shortcut_depth": 3}, order="pre"),
                   pyramid(2, 8, 16, stage={"dilation": 2}),
                   pyramid(2, 8, 16, stage={**_BOTTLENECK, "dilation": 3}, order="pre")),
    ),
    "multilevel": (
        exact("share of blocks saved by 1, 2, 3 interpolations, in %", CHANG, counts.level_savings),
        exact("its closed form", CHANG, counts.level_formula),
        exact("M MACs an image of 2-2-2, 4-4-4, 8-8-8", CHANG, counts.levels_cost),
        exact("steps alpha of 2-2-2, 4-4-4, 8-8-8, and alpha times depth", CHANG, counts.level_steps),
        exact("which of 2 blocks each of 4 is after growing", CHANG, counts.level_copies),
        learned("error in % of grown copies against grown random blocks", CHANG, trained.interpolation),
    ),
    "se_resnet": (
        count("se_resnet50", 28_088_024, 4_091_699_200),
        count("seresnext50_32x4d", 27_559_896, 4_232_994_816),
        count("se_resnet110", 1_744_952, 253_161_920),
        exact("MACs added to ResNet-50, in %", HU, counts.se_overhead),
        exact("y = s + sigmoid(e) F, forced, without and behind a norm", HU, formula.excited),
        exact("every factor of the block's formula at once, forced", "section 1", formula.whole_formula),
        as_written("SE after the last norm, before the sum", HU,
                   pyramid(2, 16, 32, stage={"se_ratio": 1 / 16}),
                   pyramid(2, 16, 32, stage={"se_ratio": 0.25, **_BOTTLENECK}, order="pre")),
        init("the excitation starts near 1/2", HU, starts.se_at_start),
        learned("S: SE less none, points of error", HU, trained.squeeze),
    ),
    "stochastic_depth": (
        exact("share of images whose branch is left out, blocks 1 to 4, p = .8", HUANG, formula.drop_rates),
        exact("y in training: s, or s + F/(1 - p); evaluated s + F", HUANG, formula.drop_values),
        as_written("no drop when evaluated", HUANG, pyramid(2, 8, 16, drop_path=0.5)),
        init("mean and variance over 20,000 images of what a block puts out", HUANG, starts.drop_expectation),
    ),
    "zero_gamma": (
        formula.identity_at_start("zero_gamma"),
        as_written("zero-gamma", "Goyal et al. 2017", pyramid(2, 8, 16, stage={"gain": "zero_gamma"})),
    ),
    "skipinit": (
        formula.identity_at_start("skipinit"),
        exact("y = s + g F at g = 0.5, one gain a block", "De and Smith 2020", formula.skipinit_learns),
        as_written("SkipInit, ReZero", "De and Smith 2020",
                   pyramid(2, 8, 16, stage={"gain": "skipinit"}, norm="none"),
                   pyramid(2, 8, 16, stage={"gain": "skipinit"}, order="pre")),
        init("variance after 40 blocks without norms: 1; LayerScale .1: 1.01^40", "De and Smith 2020",
             starts.gain_variance),
    ),
    "layerscale": (
        exact("y = s + 10^-4 F at the start; then c F in channel c", "Touvron et al. 2021", formula.layerscale),
        as_written("LayerScale", "Touvron et al. 2021", pyramid(2, 8, 16, stage={"gain": "layerscale"})),
    ),
    "regnet": tuple(counts.regnet(name) for name in counts.REGNETS),
    "eca": (
        exact("kernels at 16, 64, 128, 256, 512, 1024, 2048 channels", "Wang et al. 2020", counts.eca_kernels),
        exact("y = s + sigmoid(w F) F, forced", "Wang et al. 2020", formula.attended),
        as_written("ECA", "Wang et al. 2020", pyramid(2, 16, 32, stage={"attention": "eca"})),
        init("it starts near 1/2", "Wang et al. 2020", starts.eca_at_start),
    ),
    "convnext": (
        exact("weights of a block: 8 C^2 + 58 C at 8, 24, 96 channels", "Liu et al. 2022", counts.convnext_block),
        as_written("depthwise 7x7, LN, 1x1, GELU, 1x1, LayerScale", "Liu et al. 2022",
                   pyramid(2, 8, 16, stem="patch4", norm="layer", activation="gelu", order="post", stage={
                       "block": "convnext", "kernel": 7, "bottleneck_ratio": 4.0, "gain": "layerscale"}),
                   chain(2, 8, stem="patch2", norm="layer", activation="gelu", stage={
                       "block": "convnext", "kernel": 7, "bottleneck_ratio": 4.0})),
    ),
}
