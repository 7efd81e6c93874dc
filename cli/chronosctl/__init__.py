"""`chronosctl`: everything the API can do, from a terminal. It speaks HTTP to the API and nothing else."""
