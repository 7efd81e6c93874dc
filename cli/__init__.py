"""The two command line programs: `chronos` runs nodes, `chronosctl` talks to them."""
