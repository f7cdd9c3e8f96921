"""The second wheel: what checks a proof and accepts a hand-over, and needs `cryptography` alone.

It is made from the sources of `run_evidence`, under a name of its own, so that both can be installed side by side.
"""
