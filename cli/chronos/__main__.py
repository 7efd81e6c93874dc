"""`python -m cli.chronos`."""

from cli.chronos.main import main

if __name__ == "__main__":
    main()
