"""Proofs of the broker from outside: the real binary, foreign clients, real faults.

Nothing here imports the product. Each proof is a module that runs alone (`python -m blackbox.interop --help`, from `.ci`)
and exits non-zero on the first thing that is not so; `run` strings them together.
"""
