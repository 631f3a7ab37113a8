"""A dataset of one's own videos: a folder of video files with captions. Only `builder.py` needs TFDS."""
