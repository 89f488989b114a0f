"""The rules that every plug-in must pass, and the whole road to this one."""
