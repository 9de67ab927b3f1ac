"""From a block's q and k to where each token goes."""
