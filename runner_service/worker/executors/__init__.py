"""What runs the attempts of a worker: the contract is `base`, the list of implementations `registry`."""
