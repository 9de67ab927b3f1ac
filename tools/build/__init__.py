"""Makers of what is generated: templates, locales, pictures."""
