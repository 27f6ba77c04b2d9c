"""Runs the command line: `python -m speculative`."""

from speculative.cli import main

if __name__ == "__main__":
    main()
