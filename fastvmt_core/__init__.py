"""FastVMT's algorithm in plain torch: attention motion flow, its losses and the latent optimiser (arXiv 2602.05551)."""
