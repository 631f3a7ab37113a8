"""The web page, a thin shell over Cascade: `python -m lumiere.web`."""
