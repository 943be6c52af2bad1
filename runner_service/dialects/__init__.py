"""Adapters: façade servicers that translate a documented API, call a service, and translate back."""
