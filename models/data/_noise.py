"""Textures without detail finer than a picture can show: sums of smooth noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

WAVELENGTHS = (8.0, 4.0, 2.0, 1.0, 0.5)
_AMPLITUDES = (0.5, 0.55, 0.5, 0.4, 0.3)
_TABLE_BITS = 8
_TABLE = (
    np.random.default_rng(20170425)
    .standard_normal((1 << _TABLE_BITS, 1 << _TABLE_BITS))
    .astype(np.float32)
)
_MASK = (1 << _TABLE_BITS) - 1


def lattice(u: Array, v: Array) -> Array:
    """Random numbers at the whole coordinates, smooth in between.

    Args:
        u: first coordinate.
        v: second coordinate, of the same shape.

    Returns:
        Noise of the same shape: standard normal at the lattice, periodic with the table's size.
    """
    iu, iv = np.floor(u), np.floor(v)
    fu, fv = u - iu, v - iv
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    i0, j0 = iu.astype(np.int32) & _MASK, iv.astype(np.int32) & _MASK
    i1, j1 = (i0 + 1) & _MASK, (j0 + 1) & _MASK
    near = _TABLE[i0, j0] * (1 - fv) + _TABLE[i0, j1] * fv
    far = _TABLE[i1, j0] * (1 - fv) + _TABLE[i1, j1] * fv
    return near * (1 - fu) + far * fu


def noise(u: Array, v: Array, footprint: Array, shift: Array) -> Array:
    """Noise of several wavelengths, each faded out where a pixel is too large to show it.

    Args:
        u: first coordinate on the surface, in metres.
        v: second coordinate.
        footprint: size of a pixel on the surface, in metres.
        shift: ``(points, 2)``, where in the noise a surface lies.

    Returns:
        ``(points,)``, mean 0, deviation somewhat below 1 from near.
    """
    total = np.zeros_like(u)
    for octave, (wavelength, amplitude) in enumerate(zip(WAVELENGTHS, _AMPLITUDES, strict=True)):
        fade = visible(wavelength, footprint)
        offset = shift + np.float32(17.3 * octave)
        total += (amplitude * fade) * lattice(
            u / wavelength + offset[:, 0], v / wavelength + offset[:, 1]
        )
    return total


def visible(wavelength: float | Array, footprint: Array) -> Array:
    """How much of a wave a picture can show: 1 above four pixels, 0 below two.

    Args:
        wavelength: in metres.
        footprint: size of a pixel on the surface, in metres.

    Returns:
        From 0 to 1.
    """
    return np.clip(wavelength / (2 * footprint) - 1, 0, 1).astype(np.float32)
