"""What pulls the latent."""
