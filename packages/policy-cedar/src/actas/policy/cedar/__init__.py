"""Policies in Cedar decide who may see and call which tool.

Read :mod:`.authorizer` for the decision, :mod:`.entities` for what a policy can know, :mod:`.policies` for the files.
"""
