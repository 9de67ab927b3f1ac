"""Gradients through a network of the host's."""
