"""Images of motions and of measurements."""
