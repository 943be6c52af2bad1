"""Typed Python client of Runner Service."""

__version__ = "0.1.0"
