"""The suite that every delegation module must pass: the names of its tests are the rules."""

from actas.testing.conformance import ModuleConformance


class TestJoserfc(ModuleConformance):
    """Tried with the kit in ``downstream.py``."""
