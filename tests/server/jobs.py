"""Jobs that the server's tests share."""

from __future__ import annotations

import copy

from safetensors.torch import load

from tools.demo.transfer import Recorder, node


def run_for_latent(client, graph, save="save", on_event=None):
    """Run a graph; returns the latent that its SaveLatent node `save` kept, and the record of the run."""
    record = Recorder(graph)

    def on_any_event(kind, data):
        record.on_event(kind, data)
        if on_event is not None:
            on_event(kind, data)

    return latent_of(client, client.run(graph, on_any_event), save), record


def latent_of(client, history, save="save"):
    """The latent that the SaveLatent node `save` of a finished job kept."""
    return load(client.view(history.files(save)[0]))["latent_tensor"]


def unguided(graph):
    """The same graph with the sampler on the model itself, and nothing of ours that it does not need."""
    without = copy.deepcopy(graph)
    without["18"]["inputs"]["model"] = without["11"]["inputs"]["model"]
    for identity in ("9", "10", "11"):
        del without[identity]
    return without


def shortened(graph):
    """The guided half of the demo's graph, 2 guided steps of 4 with 2 inner steps each; its latent is saved."""
    keep = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "18")
    short = copy.deepcopy({identity: graph[identity] for identity in keep})
    node(short, "Sample guided")["inputs"]["steps"] = 4
    node(short, "Apply motion")["inputs"].update(inner_steps=2, gradient_interval=1, end_percent=0.5)
    short["save"] = {
        "class_type": "SaveLatent",
        "_meta": {"title": "Latent guided"},
        "inputs": {"samples": ["18", 0], "filename_prefix": "latent"},
    }
    return short
