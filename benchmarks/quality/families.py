"""Whether guided clips of families beside Wan follow a reference, on tiny networks of them.

python -m benchmarks.quality.families --models FOLDER --kind KIND [--json OUT] [--first N] [--references N]
[--rows "pattern;pattern"]

FOLDER is what `python -m tools.train.families` wrote. The host loads the network, and the pack reads the motion and
guides, on references whose motion is known. Block and noise level are chosen on the first references, and judged on
the others. A bench that was stopped resumes with the same command. It writes docs/families.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tqdm import tqdm

from benchmarks.runs.bootstrap import mean_interval
from benchmarks.runs.in_process import Host
from benchmarks.runs.measures import load_judge, measure
from benchmarks.runs.references import Reference, make_reference
from benchmarks.runs.report import markdown_table
from benchmarks.runs.sources import files_digest
from benchmarks.runs.store import Store
from tools.host import made_families
from tools.host.layout import REPO
from tools.train.patterns import Floats

HERE = Path(__file__).resolve().parent
RESULTS, TEXT, PAGE = HERE.parent / "results" / "families.json", HERE / "families.md", REPO / "docs" / "families.md"
KINDS = ("ltxv", "hunyuan15")
STEPS, CFG = 25, 4.0
UNGUIDED = "not guided"
FIGURES = ("correlation", "error_px", "colour_kept", "shape_kept", "colour_leaked", "shape_leaked")


ADAM = {"inner_steps": 6, "lr_start": 0.05, "lr_end": 0.033, "end_percent": 0.6}
POLYAK = {"inner_steps": 1, "optimizer": "polyak", "end_percent": 0.6}
BLOCKS, SIGMAS = ((0,), (1,), (2,), (3,), (1, 2), (2, 3)), (0.1, 0.3, 0.5, 0.7, 0.9)
CHOSEN = {"ltxv": ((2,), 0.7), "hunyuan15": ((1, 2), 0.5)}
"""Of each kind the blocks and the noise level that follow best on the first references."""
TUNING = 6
"""References on which they were chosen."""


@dataclass(frozen=True)
class Row:
    """How a clip is guided."""

    blocks: tuple[int, ...]
    """Counted from 0, in rising order."""
    sigma: float
    guidance: Mapping[str, Any] = field(default_factory=lambda: ADAM)
    objective: str = "FastVMT"


def rows_of(kind: str) -> dict[str, Row]:
    """The rows of a kind by name; Delta is GuidanceConfig's own, 3, where none is named."""
    blocks, sigma = CHOSEN[kind]
    read = [*((each, sigma) for each in BLOCKS), *((blocks, each) for each in SIGMAS)]
    chosen = _name(blocks, sigma)
    return {
        **{_name(*each): Row(*each) for each in read},
        **{f"{chosen}, Delta {each}": Row(blocks, sigma, {**ADAM, "gradient_interval": each}) for each in (1, 2, 4, 5)},
        f"{chosen}, Polyak": Row(blocks, sigma, POLYAK),
        f"{chosen}, MotionClone": Row(blocks, sigma, POLYAK, "MotionClone"),
    }


def _name(blocks: tuple[int, ...], sigma: float) -> str:
    return f"block{'s' * (len(blocks) > 1)} {' and '.join(map(str, blocks))}, read at {sigma}"


class Bench:
    """The host with one tiny network."""

    def __init__(self, host: Host, models: Path, kind: str) -> None:
        from tools.train import families
        from tools.train.vae import load_vae

        self._host, self._made, self._kind = host, families, families.KINDS[kind]
        self._channels = load_file(models / f"{kind}_channels.safetensors")
        weights = {name: value.float() for name, value in load_file(models / f"{kind}.safetensors").items()}
        with torch.inference_mode():
            self._model = made_families.loaded_of(self._kind, weights)
        self._vae, self._judge = load_vae(families.VAE).eval(), load_judge()

    def unguided(self, index: int) -> dict[str, Any]:
        """Figures of a clip without guidance."""
        return self._figures(self._model, make_reference(index), index)

    def guided(self, row: Row, index: int) -> dict[str, Any]:
        """Figures of a guided clip."""
        pack, reference = self._host.pack, make_reference(index)
        config = pack("fastvmt_core.config")
        method = pack("fastvmt_core.objectives.registry").METHODS[row.objective]
        flow = config.AMFConfig(temporal_span=4, window=5, tile=(2, 2))
        with torch.inference_mode():
            motion = pack("nodes.host.reading.inversion").invert_motion(
                self._model,
                self._latent_of(reference),
                self._prompt(""),
                flow,
                row.blocks,
                (row.sigma,),
                0,
                "ignore",
                objective=method,
            )
        following = pack("nodes.host.sampling.wrapper").apply_motion(
            self._model,
            motion,
            config.LossWeights(consistency=0.0),
            config.GuidanceConfig(**row.guidance),
            None,
            lambda event, data: None,
            method,
        )
        return self._figures(following, reference, index)

    def _latent_of(self, reference: Reference) -> torch.Tensor:
        from tools.train.vae import encode_clips

        latent = self._made.to_channels(encode_clips(self._vae, [reference.frames]), self._channels)
        return self._model.model.process_latent_out(latent)

    def _prompt(self, words: str) -> list:
        text = self._made.features(words)[None]
        mask = {"attention_mask": torch.ones(1, text.shape[1], dtype=torch.int64)} if self._kind.masked else {}
        return [[text, {**mask, "pooled_output": torch.zeros(1, self._kind.pooled)}]]

    def _sampled(self, model: Any, prompt: str, seed: int) -> Floats:  # noqa: ANN401
        """The frames (T, H, W, 3) of a clip of that prompt, by 25 steps of euler."""
        import comfy.samplers

        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(self._prompt(prompt), self._prompt(""))
        guider.set_cfg(CFG)
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
        shape = (1, self._kind.latent_channels, 5, 8, 8)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            sampler = comfy.samplers.sampler_object("euler")
            latent = guider.sample(noise, torch.zeros(shape), sampler, sigmas, seed=seed)
        return self._decoded(self._model.model.process_latent_in(latent))

    @torch.no_grad()
    def _decoded(self, latent: torch.Tensor) -> Floats:
        from comfy.latent_formats import Wan21

        from tools.train.vae import decode

        pixels = decode(self._vae, Wan21().process_out(self._made.of_channels(latent.clone(), self._channels)))
        return ((pixels[0].movedim(0, -1) + 1) / 2).clamp(0, 1).float().numpy()

    def _figures(self, model: Any, reference: Reference, seed: int) -> dict[str, Any]:  # noqa: ANN401
        figures = measure(self._sampled(model, reference.prompt, seed), reference, None, self._judge)
        return {name: figures[name] for name in FIGURES}


def main(arguments: Sequence[str] | None = None) -> None:
    """The runs that are missing are made, and the page is written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder of python -m tools.train.families")
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0])
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers")
    parser.add_argument("--first", type=int, default=0, help="first reference (default: 0)")
    parser.add_argument("--references", type=int, default=TUNING + 16, help="how many (default: 22)")
    parser.add_argument("--rows", default="*", help="patterns of rows' names, between semicolons (default: all)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = rows_of(options.kind)
    patterns = [pattern.strip() for pattern in options.rows.split(";")]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in rows):
            parser.error(f"--rows: expected patterns of {', '.join(rows)}, got {pattern!r}")
    names = [UNGUIDED, *(name for name in rows if any(fnmatchcase(name, pattern) for pattern in patterns))]
    files = [options.models / f"{options.kind}{part}.safetensors" for part in ("", "_channels")]
    store, digest = Store(options.json), files_digest(files)
    runs = store.read()
    done = {(run["kind"], run["row"], run["reference"]) for run in runs if run["model"] == digest}
    references = range(options.first, options.first + options.references)
    wanted = [(name, index) for index in references for name in names]
    wanted = [each for each in wanted if (options.kind, *each) not in done]
    bench = Bench(Host(), options.models, options.kind) if wanted else None
    for name, index in tqdm(wanted):
        figures = bench.unguided(index) if name == UNGUIDED else bench.guided(rows[name], index)
        run = {"kind": options.kind, "row": name, "reference": index, "model": digest, **figures}
        store.add(run)
        runs.append(run)
    store.finish({"runs": [run for run in runs if run["kind"] != options.kind or run["model"] == digest]})
    if options.json == RESULTS:
        PAGE.write_text(page(TEXT.read_text(encoding="utf-8"), store.read()), encoding="utf-8")
    print(table(store.read(), options.kind, references))


def page(text: str, runs: Sequence[dict[str, Any]]) -> str:
    """``text`` with each kind's two tables in the places of {KIND chosen} and {KIND}."""
    for kind in KINDS:
        text = text.replace("{" + kind + " chosen}", table(runs, kind, range(TUNING)))
        text = text.replace("{" + kind + "}", table(runs, kind, range(TUNING, 1000)))
    return text


def table(runs: Sequence[dict[str, Any]], kind: str, references: range) -> str:
    """A Markdown table of a kind's rows that have runs of these references."""
    lines = []
    for name in (UNGUIDED, *rows_of(kind)):
        own = [run for run in runs if (run["kind"], run["row"]) == (kind, name) and run["reference"] in references]
        if own:
            interval = mean_interval([run["correlation"] for run in own], [run["reference"] for run in own])
            means = {figure: np.mean([run[figure] for run in own]) for figure in FIGURES[1:]}
            looks = "{colour_kept:.2f} / {shape_kept:.2f}", "{colour_leaked:.2f} / {shape_leaked:.2f}"
            shown = "{:.3f} [{:.2f}, {:.2f}]".format(*interval) if interval else f"{own[0]['correlation']:.3f}"
            lines.append((name, str(len(own)), shown, f"{means['error_px']:.1f}", *(s.format(**means) for s in looks)))
    heads = ("row", "clips", "path correlation [95 %]", "px", "prompt's colour / shape", "reference's colour / shape")
    return markdown_table(heads, lines)


if __name__ == "__main__":
    main()
