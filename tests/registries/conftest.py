"""Registries of images elsewhere."""
