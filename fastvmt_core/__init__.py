"""FastVMT's method in plain torch (arXiv 2602.05551): what other programs may import, and nothing of a host.

Read a reference's q and k with `attention_motion_flow`, keep the flow as a `MotionEmbedding`, and pull a latent to it
with `optimize_latent` and an `Objective`. docs/stability.md promises the names in `__all__`.
"""

from .attention.flow import AttentionMotionFlow, attention_motion_flow
from .config import AdaptiveInterval, AMFConfig, ClipConfig, GuidanceConfig, InversionConfig, LossWeights
from .grid import TokenGrid
from .guidance.optimizer import GuidanceLog, InnerStep, optimize_latent
from .guidance.schedule import guided_steps, step_weight
from .metrics.fidelity import dense_tracks, motion_fidelity, path_correlation, path_error, temporal_consistency
from .motion.blend import blend, masked, subject_and_camera
from .motion.edit import amplify, change_speed, freeze, mirror, only_camera, reverse, without_camera
from .motion.embedding import MotionEmbedding
from .motion.fingerprint import ModelFingerprint
from .motion.resize import fit_to
from .objectives.fastvmt import FastVMT, FastVMTLoss, motion_loss
from .objectives.protocol import MotionLoss, Needs, Objective, Signals, Target
from .presets import PAPER_LOSS_WEIGHTS, PRESETS
from .provenance.mark import Mark, read_mark, with_mark
from .video.clip import FittedClip, fit_clip

__all__ = [
    "AMFConfig",
    "AdaptiveInterval",
    "AttentionMotionFlow",
    "ClipConfig",
    "FastVMT",
    "FastVMTLoss",
    "FittedClip",
    "GuidanceConfig",
    "GuidanceLog",
    "InnerStep",
    "InversionConfig",
    "LossWeights",
    "Mark",
    "ModelFingerprint",
    "MotionEmbedding",
    "MotionLoss",
    "Needs",
    "Objective",
    "PAPER_LOSS_WEIGHTS",
    "PRESETS",
    "Signals",
    "Target",
    "TokenGrid",
    "amplify",
    "attention_motion_flow",
    "blend",
    "change_speed",
    "dense_tracks",
    "fit_clip",
    "fit_to",
    "freeze",
    "guided_steps",
    "masked",
    "mirror",
    "motion_fidelity",
    "motion_loss",
    "only_camera",
    "optimize_latent",
    "path_correlation",
    "path_error",
    "read_mark",
    "reverse",
    "step_weight",
    "subject_and_camera",
    "temporal_consistency",
    "with_mark",
    "without_camera",
]
