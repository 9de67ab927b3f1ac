"""Files and models that the host knows."""
