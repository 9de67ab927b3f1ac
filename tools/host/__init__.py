"""A real, pinned ComfyUI with this checkout in it: prepare it, start it, talk to it.

``COMFYUI_DIR`` names another ComfyUI checkout, ``FASTVMT_PYTHON`` another interpreter; both are only read.
"""
