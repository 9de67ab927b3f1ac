"""What the templates and blueprints hold: nodes and links, by name."""
