"""Motion fidelity on real footage: pictures of real clips, moved by a camera whose path is known."""

import numpy as np
import pytest
import torch

from fastvmt_core.metrics.report import compared
from tools.host.layout import Layout

pytest.importorskip("cv2")

FRAMES = 9
STEPS = {"same": (4, 0), "slower and turned": (2, 2), "across": (0, 4), "opposite": (-4, 0)}
"""Pixels a frame (x, y) of the window that is visible, from the most alike to the least."""


def picture(name):
    """The first frame of a clip, (H, W, 3) in [0, 1]."""
    import av

    with av.open(str(Layout.of().clips / name)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24").astype(np.float32) / 255


def panned(frame, step):
    """(FRAMES, h, w, 3): what a window shows that moves over a picture."""
    room = 4 * (FRAMES // 2)
    height, width = (side - 2 * room for side in frame.shape[:2])
    visible = []
    for time in range(-(FRAMES // 2), FRAMES // 2 + 1):
        x, y = (room + side * time for side in step)
        visible.append(frame[y : y + height, x : x + width])
    return torch.from_numpy(np.stack(visible))


@pytest.mark.parametrize("name", ["bikes.mp4", "carphone_pristine.mp4", "bigbuckbunny.mp4"])
def test_camera_moves_over_real_pictures_come_in_the_right_order(name):
    frame = picture(name)
    top, left = (max(0, (side - most) // 2) for side, most in zip(frame.shape[:2], (224, 320), strict=False))
    frame = frame[top : top + 224, left : left + 320]
    reference = panned(frame, STEPS["same"])
    scores = [compared(panned(frame, step), reference, 16).fidelity for step in STEPS.values()]
    assert scores[0] >= 0.99 and scores[-1] < 0
    assert scores == sorted(scores, reverse=True)
