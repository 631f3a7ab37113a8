"""The image U-Net, its inflation, and the Space-Time U-Net."""
