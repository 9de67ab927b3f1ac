"""Tools for people who work on the pack; none of them is needed to use its nodes."""
