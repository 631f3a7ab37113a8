"""Captions: tokens, and the encoder that turns them into the states a network attends to."""
