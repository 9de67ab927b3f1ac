"""How well motion transfers."""
