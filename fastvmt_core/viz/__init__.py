"""Pictures of motions and of measurements."""
