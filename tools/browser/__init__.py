"""ComfyUI's page in a headless browser, for tests and pictures."""
