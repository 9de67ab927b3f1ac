"""Jobs that the server's tests share."""

from __future__ import annotations

from safetensors.torch import load

from demo.transfer import Recorder


def run_for_latent(client, graph, save="save"):
    """Run a graph; returns the latent that its SaveLatent node `save` kept, and the record of the run."""
    record = Recorder(graph)
    history = client.run(graph, record.on_event)
    return load(client.view(history.files(save)[0]))["latent_tensor"], record


def unguided(graph):
    """The same graph with the sampler on the model itself, and nothing of ours that it does not need."""
    plain = {identity: dict(entry, inputs=dict(entry["inputs"])) for identity, entry in graph.items()}
    plain["18"]["inputs"]["model"] = plain["11"]["inputs"]["model"]
    for identity in ("9", "10", "11"):
        del plain[identity]
    return plain
