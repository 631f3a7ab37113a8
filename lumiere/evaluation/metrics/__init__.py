"""The field's metrics of video models: FVD, KVD and what they stand on."""
