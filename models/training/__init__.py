"""The trainer behind ``python -m models.train``."""
