"""`python -m speculative.cli`."""

from speculative.cli import main

main()
