"""From videos to training clips: what is in each file, which clips it gives, which of them are kept and why.

Functions of arrays and tables; `lumiere.curate` runs them over a folder. Neither JAX nor the trainer is imported here.
"""
