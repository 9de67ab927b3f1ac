"""The demo of scripts/demo.sh: a motion transfer through a running ComfyUI."""
