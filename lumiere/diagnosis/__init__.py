"""Whether a training can learn: what `python -m lumiere.doctor` looks at.

Each module looks at one part and returns findings, which say what was measured and what to do about it.
"""
