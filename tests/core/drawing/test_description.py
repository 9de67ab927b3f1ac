"""A drawing as JSON: what it may be, and what is refused with which words."""

import json

import pytest

from fastvmt_core.drawing.description import Camera, Drawing, DrawnObject, Ellipse, Lasso, MaskShape, Move, read_drawing

DISC = {"ellipse": [0.3, 0.4, 0.1, 0.2]}
PATH = [[0.3, 0.4], [0.6, 0.4]]


def test_what_is_left_out_has_its_default():
    assert read_drawing(json.dumps({"objects": [DISC]})) == Drawing(
        (DrawnObject(Ellipse((0.3, 0.4), (0.1, 0.2)), Move()),), Camera()
    )


def test_everything_that_can_be_written():
    camera = {"path": PATH, "scale": 1.5, "turn": -10, "parallax": 0.5, "shake": 0.02, "seed": 7, "speed": "ease"}
    objects = [
        {"lasso": [[0, 0], [1, 0], [1, 1]], "path": PATH, "speed": "timed", "times": [0, 0.5], "turn": 90, "scale": 2},
        {"mask": 1, "path": PATH, "speed": "ease out"},
    ]
    drawing = read_drawing(json.dumps({"objects": objects, "camera": camera}))
    path = ((0.3, 0.4), (0.6, 0.4))
    assert drawing.objects[0].move == Move(path, "timed", (0.0, 0.5), 90.0, 2.0)
    assert drawing.objects[0].shape == Lasso(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))
    assert drawing.objects[1] == DrawnObject(MaskShape(1), Move(path, "ease out"))
    assert drawing.camera == Camera(Move(path, "ease", (), -10.0, 1.5), 0.5, 0.02, 7)


BAD = {
    "": "drawing: expected at least one object or a camera that moves, got an empty text; draw on the node",
    "{": "drawing: expected a drawing as JSON, got '{'",
    "[" * 100_000: "drawing: expected a drawing as JSON",
    " " * 300_000: "drawing: expected a JSON text of at most 200,000 characters, got 300,000 characters",
    "[]": r"drawing: expected an object with objects, camera, got \[\]",
    '{"objects": [], "camera": {}}': "drawing: expected at least one object or a camera that moves, got neither",
    '{"object": []}': "drawing: expected only objects, camera, got 'object'",
    '{"objects": {}}': "drawing: objects: expected a list of at most 8 objects, got {}",
    json.dumps({"objects": [DISC] * 9}): "drawing: objects: expected a list of at most 8 objects, got 9 objects",
    json.dumps({"objects": [DISC, {"path": PATH}]}): "object 2: expected exactly one of ellipse, lasso, mask, got none",
    json.dumps({"objects": [{**DISC, "mask": 0}]}): "object 1: expected exactly one of .*, got ellipse and mask",
    json.dumps({"objects": [{"ellipse": [0, 0, 0, 1]}]}): r"object 1: ellipse: expected .*radii above 0",
    json.dumps({"objects": [{"ellipse": [0, 0, True, 1]}]}): "object 1: ellipse: expected",
    json.dumps({"objects": [{"mask": -1}]}): "object 1: mask: expected the number of a mask .*, got -1",
    json.dumps({"objects": [{"lasso": PATH}]}): "object 1: lasso: expected 3 to 500 points, got 2",
    json.dumps({"objects": [{**DISC, "path": [[0.1]]}]}): r"object 1: path: expected points .*, got \[\[0.1\]\]",
    json.dumps({"objects": [{**DISC, "path": [[3, 0]]}]}): "object 1: path: expected points .*, got",
    json.dumps({"objects": [{**DISC, "path": [[0, 0]] * 501}]}): "object 1: path: expected 1 to 500 points, got 501",
    '{"objects": [{"ellipse": [0.5, 0.5, 0.1, 0.1], "path": [[NaN, 0]]}]}': "object 1: path: expected points",
    json.dumps({"objects": [{**DISC, "speed": "fast"}]}): "object 1: speed: expected one of even, .*, got 'fast'",
    json.dumps({"objects": [{**DISC, "speed": ["even"]}]}): "object 1: speed: expected one of even",
    json.dumps(
        {"objects": [{**DISC, "path": PATH, "speed": "timed", "times": [0.5, 0.1]}]}
    ): "object 1: times: .*rising",
    json.dumps({"objects": [{**DISC, "path": PATH, "speed": "timed"}]}): "object 1: times: expected .* each of .* 2",
    json.dumps({"objects": [{**DISC, "turn": "90"}]}): "object 1: turn: expected a number from -3600 to 3600, got '90'",
    json.dumps({"objects": [{**DISC, "scale": 0}]}): "object 1: scale: expected a number from 0.1 to 10, got 0",
    json.dumps({"objects": [{**DISC, "turn": 10**400}]}): "object 1: turn: expected a number from -3600 to 3600, got 1",
    json.dumps({"objects": [{"ellipse": [10**400, 0, 1, 1]}]}): "object 1: ellipse: expected .*, got",
    json.dumps({"camera": {"shake": 1}}): "camera: shake: expected a number from 0 to 0.2, got 1",
    json.dumps({"camera": {"shake": 0.1, "seed": -1}}): "camera: seed: expected a whole number from 0",
    json.dumps({"camera": {"zoom": 2}}): "camera: expected only path, .*, got 'zoom'",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:60])
def test_what_cannot_be_drawn_is_refused_by_name(text):
    with pytest.raises(ValueError, match=BAD[text]):
        read_drawing(text)


def test_a_value_that_is_no_text_is_refused():
    with pytest.raises(ValueError, match="drawing: expected a JSON text"):
        read_drawing({"objects": [DISC]})
