"""Training: stages, state, step, loop, checkpoints, metrics and the device mesh."""
