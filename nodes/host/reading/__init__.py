"""Running a network on a reference to read it."""
