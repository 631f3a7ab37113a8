"""What a config costs on machines that are not at hand."""
