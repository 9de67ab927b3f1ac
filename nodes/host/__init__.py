"""The only code that touches ComfyUI's internals; each file holds one trap and says which."""
