"""What one conditional model is used for: animate, fill, edit, extend, restyle."""
