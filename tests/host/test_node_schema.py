"""What nodes make of an older and a newer host, of values that no list has, and of presets."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from tools.train.clips import make_clip

OWN = {"inner_steps": 12, "lr_start": 0.04, "lr_end": 0.02, "gradient_interval": 0, "end_percent": 0.5}


@dataclasses.dataclass
class OlderSchema:
    """A host without search words."""

    node_id: str
    inputs: list


@dataclasses.dataclass
class NewerSchema(OlderSchema):
    """A host with both newer fields."""

    search_aliases: list = dataclasses.field(default_factory=list)
    essentials_category: str | None = None


class OlderInput:
    def __init__(self, id, extra_dict=None):
        self.id, self.extra_dict = id, extra_dict


class NewerInput(OlderInput):
    def __init__(self, id, extra_dict=None, advanced=None):
        super().__init__(id, extra_dict)
        self.advanced = advanced


def test_newer_fields_reach_hosts_that_have_them(pack):
    make = pack("nodes.schema").node_schema
    given = {"node_id": "A", "inputs": [], "search_aliases": ["camera motion"], "essential": True}
    assert make(**given, host=OlderSchema) == OlderSchema("A", [])
    assert make(**given, host=NewerSchema) == NewerSchema("A", [], ["camera motion"], "Video Tools")
    assert make(node_id="A", inputs=[], host=NewerSchema) == NewerSchema("A", [])


def test_advanced_inputs_on_either_host(pack):
    advanced = pack("nodes.schema").advanced
    older, newer = advanced(OlderInput("x", {"a": 1}), OlderInput), advanced(NewerInput("x"), NewerInput)
    assert older.extra_dict == {"a": 1, "advanced": True}
    assert newer.advanced is True and newer.extra_dict is None


def test_every_node_has_search_words(pack):
    nodes = pack("nodes")
    schema = pack("nodes.schema")
    words = {}
    keep = schema.node_schema.__kwdefaults__
    assert keep["host"] is not None
    for name, module in vars(nodes).items():
        if name.startswith(("FastVMT", "TinyWan")) and hasattr(module, "define_schema") and name != "FastVMTExtension":
            source = pack(module.__module__.removeprefix("fastvmt_pack."))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    source,
                    "node_schema",
                    lambda *, search_aliases=(), essential=False, **fields: words.update(
                        {fields["node_id"]: tuple(search_aliases)}
                    ),
                )
                module.define_schema()
    assert len(words) == 25 and all(len(aliases) >= 3 for aliases in words.values())
    users = {alias for aliases in words.values() for alias in aliases}
    assert users >= {"motion transfer", "camera motion", "reference video", "video to video motion", "DiTFlow"}


def test_a_preset_sets_its_numbers_and_the_text_names_what_runs(pack):
    guidance, presets = pack("nodes.guidance"), pack("fastvmt_core.presets").PRESETS
    given = {"preset": "paper", "strength": 1.5, "memory": "smallest", **OWN}
    config = guidance.guidance_config(**given)
    assert config == dataclasses.replace(presets["paper"], strength=1.5, memory="smallest")
    text = guidance.guidance_text(config, **given)
    assert text.startswith("preset paper: 10 inner steps, learning rate 0.003 to 0.002, fresh gradients every 3")
    assert "Not used: inner_steps 12, lr_start 0.04, lr_end 0.02, gradient_interval 0, end_percent 0.5; set" in text
    # What agrees with the preset, or was left out, is not worth a word.
    assert "Not used" not in guidance.guidance_text(config, preset="paper", strength=1.5, inner_steps=10)


def test_the_node_and_its_panel_get_the_text(pack, monkeypatch):
    guidance = pack("nodes.guidance")
    sent = []
    monkeypatch.setattr(guidance, "send", lambda *message: sent.append(message))
    node = SimpleNamespace(hidden=SimpleNamespace(unique_id="7"))
    shown = guidance.show_settings(node, "preset paper: 10 inner steps")
    assert sent == [("settings", {"node": "7", "text": "preset paper: 10 inner steps"})]
    assert shown.as_dict()["text"] == ("preset paper: 10 inner steps",)


def test_custom_takes_the_widgets(pack):
    guidance = pack("nodes.guidance")
    given = {"preset": "custom", **OWN}
    config = guidance.guidance_config(**given)
    assert (config.inner_steps, config.lr_start, config.lr_end, config.end_percent) == (12, 0.04, 0.02, 0.5)
    assert config.adaptive is not None
    text = guidance.guidance_text(config, **given)
    assert "preset custom: 12 inner steps" in text and "fresh gradients adaptive" in text and "Not used" not in text


def test_an_unknown_preset_is_refused(pack):
    with pytest.raises(ValueError, match="preset: expected one of paper, .*custom.*, got 'turbo'; choose"):
        pack("nodes.guidance").guidance_config(preset="turbo")


@pytest.mark.parametrize(("name", "value"), [("sampler_name", "eulr"), ("scheduler", "simpel")])
def test_an_unknown_sampler_is_refused_by_name(pack, monkeypatch, name, value):
    node = pack("nodes.sampler").FastVMTSampler
    monkeypatch.setattr(node, "hidden", SimpleNamespace(unique_id="1"), raising=False)
    given = {"seed": 0, "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    with pytest.raises(ValueError, match=f"{name}: expected one of .*, got '{value}'"):
        node.execute(None, None, [], [], {}, **{**given, name: value}, preset="paper")


def test_unknown_choices_are_refused_by_name(pack):
    edits, weights = pack("nodes.motion_edit"), pack("nodes.weights")
    with pytest.raises(ValueError, match="edit: expected one of amplify, .*, got 'mirror'"):
        edits.FastVMTEditMotion.execute(None, "mirror", 1.0, 0, 0)
    with pytest.raises(ValueError, match="blend: expected one of weight, .*, got 'both'"):
        edits.FastVMTBlendMotion.execute(None, None, "both", 1.0, 0.0)
    with pytest.raises(ValueError, match="schedule: expected one of constant, .*, got 'late'"):
        weights.FastVMTLossWeights.execute(5.0, 1.0, 0.2, 1.0, "late")


def test_loss_weights_are_in_the_papers_scale(pack):
    weights = pack("nodes.weights").FastVMTLossWeights.execute(5.0, 1.0, 0.2, 1.0, "constant").args[0]
    assert weights == pack("fastvmt_core.presets").PAPER_LOSS_WEIGHTS and weights.released_scale


class HostCurve:
    """A curve of the host: a ramp that leaves the range of factors at its end."""

    def interp(self, at):
        return 4 * at - 1


def test_a_curve_of_the_host_is_sampled(pack):
    node = pack("nodes.weights")
    curve = node.FastVMTLossWeights.execute(5.0, 1.0, 0.2, 1.0, "constant", "", HostCurve()).args[0].curve
    assert curve[0] == (0.0, 0.0) and curve[-1] == (1.0, 2.0) and (0.5, 1.0) in curve
    assert len(curve) == node.CURVE_PARTS + 1
    # Where the host has the type, and there alone.
    assert node.host_curve_inputs(SimpleNamespace()) == []
    (socket,) = node.host_curve_inputs(SimpleNamespace(Curve=object))
    assert socket.id == "host_curve" and socket.optional and socket.get_io_type() == "CURVE"
    assert socket.as_dict()["forceInput"] is True


@pytest.fixture
def encode(pack, vae):
    """Encode Reference at the clip's own size."""

    def execute(**given):
        node = pack("nodes.reference").FastVMTEncodeReference
        widgets = {"width": 0, "height": 0, "length": 0, "fit": "crop", "source_fps": 16.0, "target_fps": 0.0}
        with torch.inference_mode():
            return node.execute(vae, **{**widgets, "tiled": False, **given}).args

    return execute


def test_encode_reference_takes_a_video_or_images(pack, encode):
    video = pack("nodes.host.files.tiny_model").load_reference()
    files = pack("nodes.host.files.video")
    images = files.read_video(video, 16.0, 0, files.Size(0, 0, "crop"))
    by_video, by_images = encode(video=video), encode(frames=images.frames)
    assert torch.equal(by_video[0]["samples"], by_images[0]["samples"])
    # Width, height and length; and the model's own rate.
    assert by_video[1:4] == by_images[1:4] == (128, 128, 17)
    assert by_video[5] == by_images[5] == 16.0
    assert by_video[4].startswith("The video has 128 x 128 pixels at 16 frames per second. Reference: 17 frames")


def test_a_clip_that_does_not_fit_into_memory_is_refused(pack, encode, monkeypatch):
    monkeypatch.setattr(pack("nodes.reference"), "free_memory", lambda: 2e9)
    with pytest.raises(ValueError, match="width, height, length: expected a clip that fits into the 2.0 GB of free"):
        encode(frames=torch.rand(9, 64, 64, 3), width=8192, height=8192, length=9)


def test_a_video_of_images_is_resampled_by_its_rate(encode):
    from fractions import Fraction

    from comfy_api.latest import InputImpl, Types

    # A second at 32 frames per second and a half frame of the target rate.
    images = torch.from_numpy(make_clip(3, size=64, frames=33).frames)[[*range(33), 32]]
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images=images, frame_rate=Fraction(32)))
    assert encode(video=video)[3] == 17


@pytest.mark.parametrize(("both", "given"), [(False, "none"), (True, "both")])
def test_exactly_one_of_the_two_is_taken(pack, encode, both, given):
    video = pack("nodes.host.files.tiny_model").load_reference()
    inputs = {"video": video, "frames": torch.zeros(5, 64, 64, 3)} if both else {}
    with pytest.raises(ValueError, match=f"video, frames: expected exactly one of the two inputs, got {given};"):
        encode(**inputs)


def test_the_models_own_rate_follows_its_vae(pack):
    fps = pack("nodes.host.files.vae").models_fps
    assert fps(SimpleNamespace(latent_channels=16)) == 16.0
    assert fps(SimpleNamespace(latent_channels=48)) == 24.0


def every_choice(pack):
    """(node, its widgets at their defaults, name of a list widget) of every list of choices in the pack."""
    import asyncio

    from comfy_api.latest import io

    for node in asyncio.run(pack("nodes").FastVMTExtension().get_node_list()):
        inputs = node.define_schema().inputs
        widgets = {each.id: each.default for each in inputs if isinstance(each, io.WidgetInput)}
        sockets = {each.id: object() for each in inputs if not isinstance(each, io.WidgetInput) and not each.optional}
        # The one entry of a socket that a preset asks for: whose schedule `paper` is.
        sockets |= {"motion": SimpleNamespace(objective="FastVMT")} if "motion" in sockets else {}
        for each in inputs:
            if isinstance(each, io.Combo.Input):
                yield node, {**sockets, **widgets}, each.id


@pytest.mark.parametrize("value", ["no", "", None, ["detect"], 3, {}])
def test_every_choice_that_a_script_gets_wrong_is_refused_by_the_widgets_name(pack, monkeypatch, value):
    """Before anything is read, so that nothing but the widget counts."""
    tried = []
    for node, given, name in every_choice(pack):
        monkeypatch.setattr(node, "hidden", SimpleNamespace(unique_id="1"), raising=False)
        with pytest.raises(ValueError, match=f"^{name}: expected "):
            node.execute(**{**given, name: value})
        tried.append(f"{node.__name__} {name}")
    assert len(tried) == len(set(tried)) >= 16


@pytest.mark.parametrize("frames", [1, 4])
def test_a_reference_that_is_too_short_to_move_is_reported(encode, frames):
    report = encode(frames=torch.rand(frames, 64, 64, 3, generator=torch.Generator().manual_seed(0)))[4]
    assert "A single frame shows no motion, and Invert Motion will refuse it: use at least 5 frames" in report
    assert "shows no motion" not in encode(frames=torch.zeros(5, 64, 64, 3))[4]


def test_a_wrong_clip_is_refused_by_the_input_that_it_came_from(encode):
    from fractions import Fraction

    from comfy_api.latest import InputImpl, Types

    images = torch.full((5, 32, 32, 3), torch.nan)
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images=images, frame_rate=Fraction(16)))
    with pytest.raises(ValueError, match="^video: expected finite pixel values"):
        encode(video=video)
    with pytest.raises(ValueError, match="^frames: expected finite pixel values"):
        encode(frames=images)
