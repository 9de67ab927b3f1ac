"""Video clips: fitted to a model, and where they are cut."""
