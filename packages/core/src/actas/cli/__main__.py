"""``python -m actas.cli``."""

from actas.cli.main import main

main()
