"""Layers whose temporal parameters and fusion can be read, and inflation."""

from captum_video.nn.conv3t import Conv3T, FactorizedConv3d, FreeConv3T
from captum_video.nn.fitting import AffineChain, fit_affine_chain
from captum_video.nn.fusion import FusionUnit
from captum_video.nn.gates import FusionGates, GatedModule, fusion_regularizer, gated_modules
from captum_video.nn.inflation import fusion_layers, inflate
from captum_video.nn.motion import AffineMotion
from captum_video.nn.sampling import affine_maps, sampling_matrices, stacked_slices
from captum_video.nn.strategies import Strategy, set_strategy
from captum_video.nn.temporal_split import SplitConv3d, split_temporal_kernels

__all__ = [
    "AffineChain",
    "AffineMotion",
    "Conv3T",
    "FactorizedConv3d",
    "FreeConv3T",
    "FusionGates",
    "FusionUnit",
    "GatedModule",
    "SplitConv3d",
    "Strategy",
    "affine_maps",
    "fit_affine_chain",
    "fusion_layers",
    "fusion_regularizer",
    "gated_modules",
    "inflate",
    "sampling_matrices",
    "set_strategy",
    "split_temporal_kernels",
    "stacked_slices",
]
