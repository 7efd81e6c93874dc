"""`python -m cli.chronosctl`."""

from cli.chronosctl.main import main

if __name__ == "__main__":
    main()
