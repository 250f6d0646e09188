"""Layers whose temporal parameters can be read."""

from captum_video.nn.conv3t import Conv3T, FactorizedConv3d, FreeConv3T
from captum_video.nn.fitting import AffineChain, fit_affine_chain
from captum_video.nn.inflation import inflate
from captum_video.nn.motion import AffineMotion
from captum_video.nn.sampling import affine_maps, sampling_matrices, stacked_slices

__all__ = [
    "AffineChain",
    "AffineMotion",
    "Conv3T",
    "FactorizedConv3d",
    "FreeConv3T",
    "affine_maps",
    "fit_affine_chain",
    "inflate",
    "sampling_matrices",
    "stacked_slices",
]
