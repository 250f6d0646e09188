"""Layers whose temporal parameters and fusion can be read, and inflation."""

from captum_video.nn.conv3t import Conv3T, FactorizedConv3d, FreeConv3T
from captum_video.nn.fitting import AffineChain, fit_affine_chain
from captum_video.nn.fusion import FusionUnit
from captum_video.nn.gates import FusionGates, GatedModule, fusion_regularizer, gated_modules
from captum_video.nn.inflation import fusion_layers, inflate
from captum_video.nn.motion import AffineMotion
from captum_video.nn.sampling import affine_maps, sampling_matrices, stacked_slices
from captum_video.nn.strategies import Strategy, set_strategy

__all__ = [
    "AffineChain",
    "AffineMotion",
    "Conv3T",
    "FactorizedConv3d",
    "FreeConv3T",
    "FusionGates",
    "FusionUnit",
    "GatedModule",
    "Strategy",
    "affine_maps",
    "fit_affine_chain",
    "fusion_layers",
    "fusion_regularizer",
    "gated_modules",
    "inflate",
    "sampling_matrices",
    "set_strategy",
    "stacked_slices",
]
