"""Clips of pictures: fitted to a model, and where they are cut."""
