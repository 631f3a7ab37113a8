"""Captions: tokens, and the encoder that turns them into the states a network attends to."""

# What examples and batches bring that were made from precomputed caption states, and under the same names what a network
# is conditioned with: states and which of them are tokens, and the same of the empty caption.
TEXT_KEYS = ("text", "text_mask", "null_text", "null_text_mask")
