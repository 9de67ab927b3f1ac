"""Socket types and the menu category that all nodes share. Both are promises to saved workflows: never rename one."""

from __future__ import annotations

from comfy_api.latest import io

CATEGORY = "FastVMT"

Motion = io.Custom("FASTVMT_MOTION")
"""A `fastvmt_core.motion.MotionEmbedding`."""

LossWeightsSocket = io.Custom("FASTVMT_LOSS_WEIGHTS")
"""A `fastvmt_core.config.LossWeights`."""

SHOTS = "fastvmt_shots"
"""In the LATENT of Encode Reference, beside "samples": the frames of the latent that each shot has, as a tuple."""
