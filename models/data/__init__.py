"""Data sets that the bundled models are trained on."""

from models.data.drives import Drives, Snippet
from models.data.events import Event, Events
from models.data.moving_digits import MovingDigits, Sample

__all__ = ["Drives", "Event", "Events", "MovingDigits", "Sample", "Snippet"]
