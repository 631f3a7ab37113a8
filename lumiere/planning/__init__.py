"""The cost of a config on machines that are not available."""
