"""Joint denoising over overlapping windows along time, for any denoiser."""
