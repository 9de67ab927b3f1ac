"""The tiny Wan model's clips, and what measures the motion in them."""
