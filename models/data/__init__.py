"""Data sets that the bundled models are trained on."""

from models.data.moving_digits import MovingDigits, Sample

__all__ = ["MovingDigits", "Sample"]
