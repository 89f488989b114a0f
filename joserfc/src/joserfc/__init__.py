"""Notes as the user who called: an actas plug-in."""
