"""What the page is sent while a node runs."""
