"""Week04's lakehouse and Week05's mart, small and real, built from the warehouse by a command of their own.

The factory knows nothing of it: it observes what reports these neighbours leave, whoever built them.
"""
