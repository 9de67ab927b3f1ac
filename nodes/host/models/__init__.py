"""What a loaded network is."""
