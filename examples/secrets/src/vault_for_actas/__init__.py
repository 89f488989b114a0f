"""Secrets for actas from whatever a command prints."""
