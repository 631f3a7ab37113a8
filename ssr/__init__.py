"""The spatial super-resolution network and its noise augmentation."""
