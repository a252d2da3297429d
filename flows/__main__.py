"""`python -m flows` is `fanout`."""

from flows.cli import main

main()
