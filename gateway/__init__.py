"""A generic gRPC-JSON transcoder: HTTP in front of any gRPC servicers, from their descriptors."""
