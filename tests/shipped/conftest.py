"""Agents that come with the service."""
