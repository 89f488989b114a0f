"""Files as the user, confined to a folder of the user's own."""
