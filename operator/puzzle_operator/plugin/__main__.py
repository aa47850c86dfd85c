"""`python -m puzzle_operator.plugin`: the same as `kubectl puzzle`, where nothing is installed on PATH."""

from .cli import main

main()
