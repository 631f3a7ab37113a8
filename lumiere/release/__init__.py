"""Makes a release of a trained model: `python -m lumiere.release`."""
