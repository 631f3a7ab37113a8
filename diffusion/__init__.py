"""The diffusion process: schedules, objective, guidance and samplers, independent of networks and of video."""
