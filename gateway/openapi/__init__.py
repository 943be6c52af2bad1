"""OpenAPI 3.1 from the very route table that routes, with the comments of the protos."""

from gateway.openapi.document import document

__all__ = ["document"]
