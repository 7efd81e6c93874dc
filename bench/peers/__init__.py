"""Other schedulers doing the same job in the same sitting; see README.md."""
