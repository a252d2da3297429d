"""`python -m flows` is `fanout`."""

from flows.start import main

main()
