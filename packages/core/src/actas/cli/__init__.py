"""The command line: ``actas demo | run | check | whoami``."""
