"""The private HTTP port on which the API tier reaches a worker."""
