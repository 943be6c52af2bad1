"""Registries of images elsewhere. `OciRegistry` speaks the protocol of the Open Container Initiative."""

from runner_service.registries.oci import OciRegistry

__all__ = ["OciRegistry"]
