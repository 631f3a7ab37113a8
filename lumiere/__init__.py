"""The open Lumiere: data, text, training, sampling and evaluation around the networks."""
