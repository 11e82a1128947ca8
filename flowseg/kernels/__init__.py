"""Numba kernels: arrays and scalars in, arrays out; no options, no files, no checks.

Each kernel is serial and releases the interpreter lock; callers spread ranges over threads (see `flowseg.threads`).
"""
