"""`chronos`: a whole node under one supervisor, its parts alone, and what an operator prepares beforehand."""
