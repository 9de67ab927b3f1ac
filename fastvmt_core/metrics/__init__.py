"""How well a motion was followed, and which block follows motion."""
