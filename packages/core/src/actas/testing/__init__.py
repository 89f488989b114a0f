"""Real parts for tests and for the demo: an identity provider, tokens good and bad, sessions."""
