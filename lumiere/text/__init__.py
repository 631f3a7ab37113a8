"""Captions: tokenizers, and the encoders whose states a network attends to."""

# Entries of examples and batches with precomputed caption states, and of a network's conditioning: the states, a mask of those
# that are tokens, and the same for the empty caption.
TEXT_KEYS = ("text", "text_mask", "null_text", "null_text_mask")
