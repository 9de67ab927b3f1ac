"""What a guided run needs of memory and time."""
