"""From prompts, and from what is given of a clip, to videos."""
