"""The product's promise over several clips: the generated object follows each reference's path."""

import pytest
import torch

from fastvmt_core.metrics.fidelity import path_correlation
from tools.demo.transfer import RUNS, load_graph, read_frames
from tools.train.clips import make_clip, write_video
from tools.train.track import track

CLIPS = 8
APPEARANCES = [("red", "circle"), ("green", "square"), ("blue", "circle"), ("yellow", "square"), ("magenta", "circle")]


@pytest.mark.slow
def test_eight_fresh_clips_are_followed(client, tmp_path):
    correlations = []
    for number in range(CLIPS):
        clip = make_clip(seed=1000 + number)
        # The first appearance that is of another shape and colour than the reference.
        colour, shape = next(each for each in APPEARANCES if each[0] != clip.colour and each[1] != clip.shape)
        path = tmp_path / f"clip{number}.mp4"
        write_video(path, clip.frames)
        graph = load_graph(client.upload_input(path), f"{colour} {shape} plain", number)
        graph = {name: entry for name, entry in graph.items() if not entry["_meta"]["title"].endswith(RUNS[0])}
        frames = read_frames(client, client.run(graph), graph, RUNS[1])
        path_xy = torch.from_numpy(track(frames, colour))
        correlations.append(path_correlation(path_xy, torch.from_numpy(clip.path)))
    assert sum(correlations) / CLIPS >= 0.85, correlations
