"""The diffusion process: schedules, objectives, guidance and samplers. Knows no network and no video."""
