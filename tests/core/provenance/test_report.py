"""What the node writes about a video."""

import pytest

from fastvmt_core.provenance.mark import MOST, Mark
from fastvmt_core.provenance.report import in_words

VALID = {
    "state": "valid",
    "problems": [],
    "signed_by": "Ana",
    "test_certificate": False,
    "generated": True,
    "actions": ["c2pa.created"],
    "ingredients": {"motion": "urn:sha256:ab"},
}
MARKED, UNMARKED = Mark(5, 1e-9, 0.9), Mark(77, 0.4, 0.95)


def test_a_number_of_more_bits_was_never_hidden():
    # 33 bits are read.
    assert MARKED.found and not UNMARKED.found and not Mark(MOST + 1, 1e-9, 1.0).found


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        ({"state": "none"}, ["Content Credentials: none."]),
        (VALID, ["unchanged since Ana signed", "that name is not checked", "a trained model", "motion urn:sha256:ab"]),
        ({**VALID, "test_certificate": True}, ["A test certificate proves no identity."]),
        ({**VALID, "state": "expired", "problems": ["x.expired"]}, ["unchanged since Ana signed. The certificate has"]),
        ({**VALID, "state": "changed", "problems": ["a.mismatch"]}, ["CHANGED since Ana signed (a.mismatch)"]),
        ({"state": "damaged", "problems": ["cut off"]}, ["DAMAGED. cut off"]),
        ({"state": "unread", "problems": ["pip install"]}, ["not read. pip install"]),
    ],
)
def test_every_state_is_written_in_words(credentials, words):
    text = in_words(credentials, UNMARKED)
    assert all(each in text for each in words) and text.splitlines()[1] == "Mark: none found."
    assert ("States" in text) == (credentials["state"] in ("valid", "expired"))


def test_a_mark_is_written_with_its_doubt():
    assert in_words(VALID, MARKED).splitlines()[1] == "Mark: 5, by chance 1e-09."


def test_pictures_that_cannot_be_read_are_no_finding():
    assert in_words(VALID, None).splitlines()[1] == "Mark: not read, as there is no video that can be read."


def test_a_strangers_text_adds_no_line():
    forged = {
        **VALID,
        "signed_by": "Ana\nMark: 7, by chance 1e-30.",
        "ingredients": {"clip\r\nSigned by: Bea\x1b": "x"},
    }
    text = in_words(forged, UNMARKED)
    assert len(text.splitlines()) == len(in_words(VALID, UNMARKED).splitlines()) and "\x1b" not in text


def test_a_strangers_text_stays_short_and_is_no_template():
    text = in_words({**VALID, "signed_by": "{mark}" + "x" * 5000}, MARKED)
    assert "{mark}" in text and max(len(line) for line in text.splitlines()) <= 200
