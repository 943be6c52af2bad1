"""The gRPC server, its services, store and worker."""
