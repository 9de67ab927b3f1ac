"""q and k of a running network, and attention that stays within shots."""
