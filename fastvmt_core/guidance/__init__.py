"""How the latent is moved at a guided step, and which steps are guided."""
