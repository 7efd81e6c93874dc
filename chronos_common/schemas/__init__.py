"""The public JSON of Chronos: what may be written, what is answered, and what of it is a secret."""
