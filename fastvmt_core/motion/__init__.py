"""A reference's motion: the value, its file, and what can be made of it."""
