"""Sampling under guidance."""
