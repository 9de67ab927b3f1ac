"""What grows, and what is left, over hundreds of guided runs in one server."""
