"""Sampling: from prompts, and from given pixels, to videos."""
