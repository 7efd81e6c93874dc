"""The API tier: stateless Flask processes that speak HTTP with users and the control protocol with workers."""
