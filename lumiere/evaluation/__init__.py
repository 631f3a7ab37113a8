"""Measurements of generated videos, without a pretrained judge."""
