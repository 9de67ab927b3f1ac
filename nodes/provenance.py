"""A video -> a file that states where it is from; and a file -> what it states."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from comfy_api.latest import Input, io, ui

from ..fastvmt_core.provenance.credentials import TYPES, identities, manifest, sign
from ..fastvmt_core.provenance.mark import MOST
from ..fastvmt_core.provenance.report import in_words
from .host.files import signed_video
from .host.page.node_text import show_on_node
from .io_types import Motion
from .schema import EVALUATE, node_schema, require_choice

if TYPE_CHECKING:
    from ..fastvmt_core.motion.embedding import MotionEmbedding

CERTIFICATES = "Who signs: NAME.pem and NAME.key in user/__fastvmt/certificates, or a test, which proves no identity."
LOST = "Mark: LOST, it cannot be read back, and the credentials do not state it. Larger or busier frames hold it."
SEARCHED = ["c2pa", "content credentials", "provenance", "watermark", "ai label"]


class FastVMTSaveVideoCredentials(io.ComfyNode):
    """Save a video together with where it is from."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        signers = [signed_video.TEST, *identities(signed_video.certificate_folder())]
        return node_schema(
            node_id="FastVMTSaveVideoCredentials",
            display_name="FastVMT Save Video (Content Credentials)",
            category=EVALUATE,
            search_aliases=[*SEARCHED, "save video"],
            description="Saves a video with signed statements of where it is from (C2PA). Needs c2pa-python.",
            inputs=[
                io.Video.Input("video", tooltip="The video to save, from Create Video."),
                io.String.Input("filename_prefix", default="video/FastVMT", tooltip="Folders and name in output/."),
                io.Combo.Input("format", options=list(TYPES), default="mp4", tooltip="webp: a moving picture."),
                io.Combo.Input("certificate", options=signers, default=signed_video.TEST, tooltip=CERTIFICATES),
                io.Int.Input("mark", default=-1, min=-1, max=MOST, tooltip="A number to hide in each frame. -1: none."),
                io.Boolean.Input("name_reference", default=False, tooltip="Also states the reference's checksum."),
                Motion.Input("motion", optional=True, tooltip="The video's motion, of which the checksum is stated."),
            ],
            outputs=[io.String.Output(display_name="file", tooltip="Name of the saved file in the output folder.")],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        video: Input.Video,
        filename_prefix: str,
        format: str,
        certificate: str,
        mark: int,
        name_reference: bool,
        motion: MotionEmbedding | None = None,
    ) -> io.NodeOutput:
        """Sign, save, and show it."""
        require_choice("format", format, tuple(TYPES))
        signer = signed_video.signer(certificate)
        hashes = {} if motion is None else {"motion": motion.as_file().checksum}
        hashes |= {"reference": motion.reference_hash} if motion is not None and name_reference else {}
        saved, marked = signed_video.save(video, filename_prefix, format, mark, cls)
        described = manifest(hashes, marked, test=certificate == signed_video.TEST)
        sign(signed_video.path_of(saved), described, signer)
        file = f"{saved['subfolder']}/{saved['filename']}".lstrip("/")
        lost = "" if marked or mark == signed_video.UNMARKED else f"\n{LOST}"
        text = show_on_node(cls, f"{file}\nsigned with: {certificate}{lost}")
        return io.NodeOutput(file, ui=text.as_dict() | ui.PreviewVideo([saved]).as_dict())


class FastVMTCheckVideo(io.ComfyNode):
    """Read where a video is from."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        files = signed_video.uploads()
        return node_schema(
            node_id="FastVMTCheckVideo",
            display_name="FastVMT Check Video",
            category=EVALUATE,
            search_aliases=[*SEARCHED, "verify video", "detect ai video"],
            description="Reads a video's Content Credentials (C2PA) and mark. Nothing found proves nothing.",
            inputs=[
                io.Combo.Input("file", options=files, upload=io.UploadType.video, tooltip="A video or WebP in input/.")
            ],
            outputs=[io.String.Output(display_name="report", tooltip="What was found, as JSON.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> float:
        """Another value each time: a file may have changed."""
        return float("nan")

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Read both, and report."""
        found, mark = signed_video.checked(file)
        number = mark.number if mark and mark.found else None
        report = {"credentials": found, "mark": mark and {"found": mark.found, **asdict(mark), "number": number}}
        return io.NodeOutput(json.dumps(report), ui=show_on_node(cls, in_words(found, mark)))
