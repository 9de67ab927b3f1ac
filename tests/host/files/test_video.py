"""Videos as files: their speed, their variable rate and their rotation survive, and what is no video is refused."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from tests.core.video.allocations import allocated_at_most

SIDE = 64
BALL = 8
SPEED = 20.0
"""Pixels per second that the ball goes to the right."""


def frame_at(seconds, width=SIDE, height=SIDE):
    """A black frame with a white ball that has moved for so long, from the left edge."""
    pixels = np.zeros((height, width, 3), np.uint8)
    left = round(SPEED * seconds)
    pixels[height // 2 : height // 2 + BALL, left : left + BALL] = 255
    return pixels


def ball_x(frame):
    """Centre of the white pixels of a frame (H, W, 3), from the left."""
    return float(torch.nonzero(frame.mean(-1) > 0.5)[:, 1].float().mean())


def write(path, moments, rate=30, rotation=None, size=(SIDE, SIDE), codec="mpeg4", audio=False):
    """A video whose frames are shown at these moments, seconds."""
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 2_000_000
        stream.codec_context.time_base = Fraction(1, 600)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for seconds in moments:
            frame = av.VideoFrame.from_ndarray(frame_at(seconds, width, height), format="rgb24")
            frame.pts, frame.time_base = round(seconds * 600), Fraction(1, 600)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def steady(rate, seconds):
    return [number / rate for number in range(round(rate * seconds))]


@pytest.fixture
def read(pack):
    """The frames of a file at another rate."""
    video = pack("nodes.host.files.video")
    from comfy_api.latest import InputImpl

    def read(source, rate=16.0, most=0, size=(SIDE, SIDE), fit="crop", **trim):
        source = source if isinstance(source, io.BytesIO) else str(source)
        return video.read_video(InputImpl.VideoFromFile(source, **trim), rate, most, video.Size(*size, fit))

    return read


@pytest.mark.parametrize("rate", [24, 30])
def test_the_object_keeps_its_pixels_per_second(read, tmp_path, rate):
    frames = read(write(tmp_path / "clip.mp4", steady(rate, 2), rate)).frames
    assert frames.shape == (32, SIDE, SIDE, 3) and frames.dtype == torch.float32
    # Half a source frame of time is the most that the nearest one can be off; a pixel for rounding.
    off = SPEED / rate / 2 + 1
    for number, frame in enumerate(frames):
        assert abs(ball_x(frame) - ball_x(frames[0]) - SPEED * number / 16) <= off


@pytest.mark.parametrize(("length", "used"), [(17, 1.1), (0, None), (33, None)])
def test_the_report_of_a_longer_video_names_the_widget_that_cut_it(pack, tmp_path, length, used):
    from comfy_api.latest import InputImpl

    reference = pack("nodes.reference")
    video = InputImpl.VideoFromFile(str(write(tmp_path / "clip.mp4", steady(16, 2.1), 16)))
    config = reference.ClipConfig(SIDE, SIDE, length, "crop", 16.0, 16.0)
    report = reference.fitted_reference(video, None, config).report
    assert (f"Its first {used} of 2.1 seconds are used: length is {length} frames; 0 takes all." in report) == bool(
        used
    )


def test_a_variable_frame_rate_keeps_the_speed(read, tmp_path):
    # A phone in the dark: half a second at 30, then at 10, then at 30 frames per second.
    moments = [*steady(30, 0.5), *(0.5 + at for at in steady(10, 1.0)), *(1.5 + at for at in steady(30, 0.5))]
    frames = read(write(tmp_path / "clip.mp4", moments)).frames
    assert len(frames) == 32
    for number, frame in enumerate(frames):
        # Between two frames a tenth of a second apart.
        assert abs(ball_x(frame) - ball_x(frames[0]) - SPEED * number / 16) <= SPEED / 10 / 2 + 1


def test_a_clip_at_the_wanted_rate_keeps_every_frame(pack, read):
    path = pack("nodes.host.files.tiny_model").ASSETS / "reference.mp4"
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 16
        images = [torch.from_numpy(frame.to_ndarray(format="rgb24")) / 255.0 for frame in container.decode(video=0)]
    assert torch.equal(read(path, size=(128, 128)).frames, torch.stack(images))


@pytest.mark.parametrize(("tag", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_a_rotated_clip_is_read_upright(read, tmp_path, tag, turns):
    size = (SIDE, 32)
    lying = read(write(tmp_path / "lying.mp4", steady(16, 1), 16, size=size), size=(0, 0))
    upright = read(write(tmp_path / "phone.mp4", steady(16, 1), 16, tag, size), size=(0, 0))
    assert torch.equal(upright.frames, lying.frames.rot90(turns, (1, 2)))
    assert lying.size == (32, SIDE) and upright.size == ((SIDE, 32) if turns % 2 else (32, SIDE))


def test_only_what_is_needed_is_read_and_kept_small(read, tmp_path, monkeypatch, pack):
    path = write(tmp_path / "long.mp4", steady(30, 8), size=(256, 128))
    decoded = []
    video = pack("nodes.host.files.video")
    pictures = video._pictures
    monkeypatch.setattr(video, "_pictures", lambda *given: (decoded.append(each) or each for each in pictures(*given)))
    read_frames = read(path, most=5, size=(32, 32)).frames
    # 5 frames at 16 per second are the first third of a second: 8 of 240 frames, and one to see what is nearest.
    assert len(decoded) <= 10
    # Shrunk as far as cropping allows.
    assert read_frames.shape == (5, 32, 64, 3)


@pytest.mark.parametrize(
    ("fit", "size", "shrunk"),
    [
        ("crop", (480, 832), (480, 853)),
        ("pad", (480, 832), (468, 832)),
        ("stretch", (480, 832), (480, 832)),
        ("crop", (2160, 3840), (1080, 1920)),
        ("crop", (0, 832), (1080, 1920)),
    ],
)
def test_frames_shrink_to_what_is_fitted_and_never_grow(pack, fit, size, shrunk):
    assert pack("nodes.host.files.video").Size(*size, fit).shrunk(1080, 1920) == shrunk


def test_frames_in_memory_are_left_to_the_host(pack):
    from comfy_api.latest import InputImpl, Types

    video = pack("nodes.host.files.video")
    components = Types.VideoComponents(images=torch.zeros(3, 16, 16, 3), frame_rate=Fraction(16))
    assert video.read_video(InputImpl.VideoFromComponents(components), 16.0, 0, video.Size(0, 0, "crop")) is None


def test_a_stream_in_memory_is_read(read, tmp_path):
    data = io.BytesIO(write(tmp_path / "clip.mp4", steady(16, 1), 16).read_bytes())
    assert len(read(data).frames) == 16


def test_a_trimmed_video_is_read_trimmed(pack, tmp_path, read, monkeypatch):
    from comfy_api.latest import InputImpl

    # As newer hosts cut: the file stays, the video knows the part.
    monkeypatch.setattr(InputImpl.VideoFromFile, "get_active_trim_window", lambda self: (0.5, 0.25), raising=False)
    frames = read(write(tmp_path / "clip.mp4", steady(16, 2), 16)).frames
    assert len(frames) == 4
    assert abs(ball_x(frames[0]) - (SPEED * 0.5 + BALL / 2)) <= 1


@pytest.mark.parametrize(("start", "duration", "count"), [(0.1, 0.3, 9), (0.7, 0.1, 3), (0.0, 0.1, 3)])
def test_a_typed_time_includes_the_frame_at_it(tmp_path, read, monkeypatch, start, duration, count):
    """0.1 is no binary fraction: a little more than a tenth of a second must not miss the frame at a tenth."""
    from comfy_api.latest import InputImpl

    monkeypatch.setattr(InputImpl.VideoFromFile, "get_active_trim_window", lambda _: (start, duration), raising=False)
    frames = read(write(tmp_path / "clip.mp4", steady(30, 2)), rate=30).frames
    assert len(frames) == count
    assert abs(ball_x(frames[0]) - (SPEED * start + BALL / 2)) <= 1


def audio_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_file_without_pictures_is_refused(read, tmp_path):
    with pytest.raises(ValueError, match="video: expected a file with moving pictures, got one with audio only"):
        read(audio_only(tmp_path / "sound.m4a"))


def test_an_empty_file_is_refused(read, tmp_path):
    path = tmp_path / "empty.mp4"
    path.write_bytes(b"")
    with pytest.raises(
        ValueError, match="video: expected a video file that can be read to its end, got one that is em"
    ):
        read(path)


@pytest.mark.parametrize(
    ("front", "message"),
    [
        (False, "that can be read to its end, got one that is empty, cut off"),
        (True, "of 4.0 seconds, got one that is cut"),
    ],
    ids=["index last", "index first"],
)
def test_a_truncated_file_is_refused(read, tmp_path, front, message):
    path = tmp_path / "clip.mp4"
    write(path, steady(30, 4))
    if front:
        path = with_index_first(path, tmp_path / "front.mp4")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"video: expected a video file {message}"):
        read(path)
    # What is needed of it may be there all the same.
    if front:
        assert len(read(path, most=5).frames) == 5


def with_index_first(path, other):
    """The same streams in a file that names all frames before it holds them."""
    with av.open(str(path)) as source, av.open(str(other), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return other


def damaged(path, other, packets):
    """The file with noise in place of these packets' pictures."""
    noise = np.random.default_rng(0)
    with av.open(str(path)) as source, av.open(str(other), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is None:
                continue
            if number in packets:
                spoilt = av.Packet(noise.integers(0, 256, packet.size, dtype=np.uint8).tobytes())
                spoilt.pts, spoilt.dts, spoilt.time_base = packet.pts, packet.dts, packet.time_base
                packet = spoilt
            packet.stream = stream
            target.mux(packet)
    return other


def test_a_damaged_picture_is_left_out_and_counted(read, tmp_path):
    path = write(tmp_path / "clip.mp4", steady(16, 2), 16, codec="mjpeg")
    whole = read(path)
    partly = read(damaged(path, tmp_path / "damaged.mp4", (7, 19)))
    assert len(whole.frames) == len(partly.frames) == 32
    assert whole.damaged == 0 and partly.damaged == 2
    # Others take its place, and all else stays at its time.
    kept = [number for number in range(32) if number not in (7, 19)]
    assert torch.equal(partly.frames[kept], whole.frames[kept])


def test_a_video_of_damaged_pictures_alone_is_refused(read, tmp_path):
    path = write(tmp_path / "clip.mp4", steady(16, 1), 16, codec="mjpeg")
    with pytest.raises(ValueError, match="^video: expected a video file that can be read"):
        read(damaged(path, tmp_path / "damaged.mp4", range(16)))


HDR = {"color_primaries": 9, "color_trc": 16, "colorspace": 9}
"""BT.2020 with the PQ curve, as FFmpeg numbers them."""


@pytest.mark.parametrize(
    ("pixels", "tags"), [("yuv420p10le", HDR), ("yuv422p10le", {}), ("yuva420p", {}), ("gray", {})]
)
def test_deep_and_hdr_colours_keep_the_object_where_it_is(read, tmp_path, pixels, tags):
    path = tmp_path / "deep.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=16)
        stream.width = stream.height = SIDE
        stream.pix_fmt = pixels
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for seconds in steady(16, 0.5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_at(seconds), format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert codec.pix_fmt == pixels
        assert {name: getattr(codec, name) for name in tags} == tags
    frames = read(path).frames
    assert frames.shape == (8, SIDE, SIDE, 3) and 0 <= frames.min() and frames.max() <= 1
    for number, frame in enumerate(frames):
        assert ball_x(frame) == pytest.approx(SPEED * number / 16 + (BALL - 1) / 2, abs=1)


def test_a_large_frame_of_a_palette_is_shrunk(pack):
    """As old screen recordings have them; FFmpeg cannot write what it shrinks in that format."""
    video = pack("nodes.host.files.video")
    shrunk = video._upright(av.VideoFrame(640, 360, "pal8"), video.Size(72, 128, "crop"))
    assert shrunk.shape == (72, 128, 3)


def test_a_very_thin_frame_keeps_a_pixel(pack):
    assert pack("nodes.host.files.video").Size(64, 64, "pad").shrunk(16, 4096) == (1, 64)


@pytest.mark.parametrize(("turns", "rotation"), [(0, None), (1, 90)])
def test_a_frame_many_times_too_large_is_shrunk_as_any_other(pack, tmp_path, turns, rotation, monkeypatch):
    path = write(tmp_path / "large.mp4", steady(16, 0.25), 16, rotation, (640, 360))
    video = pack("nodes.host.files.video")
    with av.open(str(path)) as container:
        image = next(container.decode(video=0))
    size = video.Size(72, 128, "crop") if not turns else video.Size(128, 72, "crop")
    quick = video._upright(image, size)
    monkeypatch.setattr(video, "LARGE", 1e9)
    assert quick.shape == (*((128, 72) if turns else (72, 128)), 3)
    torch.testing.assert_close(quick, video._upright(image, size), atol=0.05, rtol=0)


def test_a_clip_of_8k_is_shrunk_frame_by_frame(read, tmp_path):
    path = write(tmp_path / "8k.mp4", steady(16, 4 / 16), 16, size=(7680, 4320), codec="mjpeg")
    found = {}
    most = allocated_at_most(lambda: found.update(frames=read(path, size=(480, 832)).frames))
    assert found["frames"].shape == (4, 480, 853, 3)
    # Not even one frame as float32.
    assert most < 7680 * 4320 * 3 * 4, most
