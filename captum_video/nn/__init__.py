"""Layers whose temporal parameters can be read."""

from captum_video.nn.conv3t import Conv3T, FactorizedConv3d, FreeConv3T
from captum_video.nn.sampling import affine_maps, sampling_matrices, stacked_slices

__all__ = [
    "Conv3T",
    "FactorizedConv3d",
    "FreeConv3T",
    "affine_maps",
    "sampling_matrices",
    "stacked_slices",
]
