"""Explain video models with Captum: what they looked at, where, when, and appearance or motion."""

__version__ = "0.1.0"
