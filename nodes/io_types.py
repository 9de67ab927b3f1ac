"""Socket types that the nodes share. They are promises to saved workflows: never rename one."""

from __future__ import annotations

from comfy_api.latest import io

Motion = io.Custom("FASTVMT_MOTION")
"""A `fastvmt_core.motion.embedding.MotionEmbedding`."""

LossWeightsSocket = io.Custom("FASTVMT_LOSS_WEIGHTS")
"""A `fastvmt_core.config.LossWeights`."""

TracksSocket = io.Custom("TRACKS")
"""The host's own points over time (`fastvmt_core.drawing.tracks.Tracks.as_host`), under its own name for them."""

Objective = io.Custom("FASTVMT_OBJECTIVE")
"""A `fastvmt_core.objectives.method.Method`."""

HOST_CURVE = "CURVE"
"""The socket type of the host's own curves, where it has them (`io.Curve`)."""

CUTS = "fastvmt_cuts"
"""In the LATENT of Encode Reference, beside "samples": (hash of the samples, frames of the latent that begin a shot).
The hash shows whether they are still those samples, as the host's nodes copy what they do not know."""

FRAME_FLOW = "fastvmt_frame_flow"
"""In the same LATENT: (hash of the samples, frame flow of the clip on their pixels, as `clip_flow.clip_steps`)."""
