"""Stands for `pass show`, `op read` or `vault kv get`: prints the secret that it is asked for."""

import sys

print({"partners": "known to the vault alone"}[sys.argv[1]])
