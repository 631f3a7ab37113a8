"""A dataset of one's own videos: a folder of video files with captions."""

from lumiere.data.video_folder.builder import VideoFolder, VideoFolderConfig, load_or_prepare

__all__ = ["VideoFolder", "VideoFolderConfig", "load_or_prepare"]
