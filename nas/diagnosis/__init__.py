"""What the papers of the residual family measured, for any trained network of ours.

Small functions on (network, images, labels), each in a file that says what it measures; `running` asks all of them,
`page` draws the answers. None of them changes the network: what they patch is put back.
"""

from nas.diagnosis.blocks import Block, Undefined, blocks_of
from nas.diagnosis.correlation import GradientCorrelation, gradient_correlation
from nas.diagnosis.curvature import Curvature, hessian_eigenvalues
from nas.diagnosis.effective_depth import EffectiveDepth, effective_depth
from nas.diagnosis.estimation import Estimation, iterative_estimation
from nas.diagnosis.gates import Excitation, GateValues, excitations, gate_values
from nas.diagnosis.lesion import Lesion, Lesions, lesion, lesions
from nas.diagnosis.paths import PathGradients, length_distribution, path_gradient, path_gradients
from nas.diagnosis.reordering import Reordering, Reorderings, reorderings
from nas.diagnosis.residual_norms import ResidualNorm, residual_norms

__all__ = [
    "Block", "Curvature", "EffectiveDepth", "Estimation", "Excitation", "GateValues", "GradientCorrelation", "Lesion",
    "Lesions", "PathGradients", "Reordering", "Reorderings", "ResidualNorm", "Undefined", "blocks_of",
    "effective_depth", "excitations", "gate_values", "gradient_correlation", "hessian_eigenvalues",
    "iterative_estimation", "length_distribution", "lesion", "lesions", "path_gradient", "path_gradients",
    "reorderings", "residual_norms",
]
