"""What the page says about the nodes: translations, and the tables of the help pages."""
