"""The gRPC floor: thin servicers over the services, and the interceptors that hold for all of them."""
