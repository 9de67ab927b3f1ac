"""Content Credentials: what C2PA's own reader makes of them, what a changed byte does, certificates of all kinds."""

import io
import json
import sys

import pytest

from fastvmt_core.provenance.credentials import (
    GENERATED,
    TEST,
    credentials_of,
    identities,
    made_signer,
    manifest,
    sign,
    signer_of,
    state_of,
)
from tests.core.provenance.made_videos import SERVER, new_key, write_certificate, write_key, write_video

c2pa = pytest.importorskip("c2pa")

HASHES = {"motion": "ab" * 32, "reference": "cd" * 32}
DESCRIBED = manifest(HASHES, marked=True, test=True)
KINDS = ("mp4", "webp")


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A signed file of each kind."""
    folder = tmp_path_factory.mktemp("signed")
    files = {}
    for kind in KINDS:
        files[kind] = write_video(folder / f"signed.{kind}")
        sign(files[kind], DESCRIBED, made_signer())
    return files


def read(content):
    return credentials_of(io.BytesIO(content))


@pytest.mark.parametrize("kind", KINDS)
def test_c2pas_own_reader_takes_it(signed, kind):
    with c2pa.Reader(str(signed[kind])) as reader:
        assert reader.get_validation_state() == "Valid" and reader.is_embedded() and not reader.get_remote_url()
        active, found = reader.get_active_manifest(), json.loads(reader.json())
    assert [each["code"] for each in found["validation_status"]] == ["signingCredential.untrusted"]
    assertions = {each["label"]: each["data"] for each in active["assertions"]}
    created, edited, watermarked = assertions["c2pa.actions.v2"]["actions"]
    assert (created["action"], created["digitalSourceType"]) == ("c2pa.created", GENERATED)
    assert created["softwareAgent"]["name"] == "FastVMT for ComfyUI"
    assert edited["action"] == "c2pa.edited" and len(edited["parameters"]["ingredients"]) == 2
    assert watermarked["action"] == "c2pa.watermarked.unbound"
    assert {each["title"]: each["instance_id"] for each in active["ingredients"]} == {
        name: f"urn:sha256:{digest}" for name, digest in HASHES.items()
    }
    assert "proves no identity" in assertions["fastvmt.signature"]["note"]
    # No time stamp authority was asked.
    assert "time" not in active["signature_info"]


@pytest.mark.parametrize("kind", KINDS)
def test_ours_reads_the_same(signed, kind):
    found = read(signed[kind].read_bytes())
    assert (found["state"], found["problems"], found["signed_by"]) == ("valid", [], TEST)
    assert found["test_certificate"] and found["generated"]
    assert found["actions"] == ["c2pa.created", "c2pa.edited", "c2pa.watermarked.unbound"]
    assert found["ingredients"] == {name: f"urn:sha256:{digest}" for name, digest in HASHES.items()}


@pytest.mark.parametrize(
    ("kind", "place", "code"),
    [
        ("mp4", lambda content: content.index(b"mdat") + 200, "assertion.bmffHash.mismatch"),
        ("mp4", lambda content: content.index(b"mvhd") + 20, "assertion.bmffHash.mismatch"),
        ("mp4", lambda content: content.index(b"Motion transfer"), "assertion.hashedURI.mismatch"),
        ("mp4", lambda content: content.index(HASHES["motion"].encode()), "assertion.hashedURI.mismatch"),
        ("webp", lambda content: content.index(b"ANMF") + 60, "assertion.dataHash.mismatch"),
        ("webp", lambda content: content.index(b"proves no identity"), "assertion.hashedURI.mismatch"),
    ],
)
def test_one_changed_byte_is_seen(signed, kind, place, code):
    content = bytearray(signed[kind].read_bytes())
    content[place(content)] ^= 1
    found = read(content)
    assert found["state"] == "changed" and code in found["problems"]


def test_a_manifest_that_cannot_be_read_is_damaged(signed):
    content = bytearray(signed["mp4"].read_bytes())
    content[content.index(b"jumb") + 2] ^= 1
    assert read(content)["state"] == "damaged"


@pytest.mark.parametrize("ending", ["mp4", "webp", "webm"])
def test_a_file_without_credentials_has_none(tmp_path, ending):
    assert read(write_video(tmp_path / f"plain.{ending}").read_bytes()) == {"state": "none"}


@pytest.mark.parametrize("kind", ["secp256r1", "secp384r1", "rsa", "ed25519"])
def test_a_certificate_of_ones_own_signs(tmp_path, kind):
    key = new_key(kind)
    write_certificate(tmp_path, "Ana Souza", key)
    write_key(tmp_path, "Ana Souza", key)
    assert identities(tmp_path) == ["Ana Souza"]
    target = write_video(tmp_path / "signed.mp4")
    sign(target, manifest({}, marked=False, test=False), signer_of(tmp_path, "Ana Souza"))
    found = read(target.read_bytes())
    assert (found["state"], found["signed_by"], found["test_certificate"]) == ("valid", "Ana Souza", False)
    assert found["actions"] == ["c2pa.created"] and found["ingredients"] == {}


def no_key(folder, key):
    write_certificate(folder, "bad", key)


def no_certificate(folder, key):
    write_key(folder, "bad", key)


def garbage(folder, key):
    write_key(folder, "bad", key)
    (folder / "bad.pem").write_text("no certificate")


def unknown_kind(folder, _):
    key = new_key("secp521r1")
    write_certificate(folder, "bad", key)
    write_key(folder, "bad", key)


@pytest.mark.parametrize("make", [no_key, no_certificate, garbage, unknown_kind])
def test_files_that_are_no_certificate_are_named(tmp_path, make):
    make(tmp_path, new_key())
    with pytest.raises(
        ValueError, match=r"certificate: expected bad\.pem and bad\.key in .*, got none that can be read"
    ):
        signer_of(tmp_path, "bad")


@pytest.mark.parametrize("name", ["../bad", "/etc/ssl/bad", "", ".hidden"])
def test_a_name_does_not_leave_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="^certificate: expected a name"):
        signer_of(tmp_path, name)


def key_of_another(folder, key):
    write_certificate(folder, "bad", key)
    write_key(folder, "bad", new_key())


def out_of_date(folder, key):
    write_certificate(folder, "bad", key, days=-1)
    write_key(folder, "bad", key)


def signs_nothing(folder, key):
    write_certificate(folder, "bad", key, signs=False)
    write_key(folder, "bad", key)


def is_a_servers(folder, key):
    write_certificate(folder, "bad", key, purpose=SERVER)
    write_key(folder, "bad", key)


def has_a_password(folder, key):
    write_certificate(folder, "bad", key)
    write_key(folder, "bad", key, password=b"secret")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (key_of_another, "signature does not match"),
        (out_of_date, "not valid at time of signing"),
        (signs_nothing, "certificate is invalid"),
        (is_a_servers, "certificate is invalid"),
        (has_a_password, "invalid signing credentials"),
    ],
)
def test_a_certificate_that_c2pa_refuses_is_named_and_leaves_no_file(tmp_path, make, why):
    make(tmp_path, new_key())
    (out := tmp_path / "out").mkdir()
    write_video(out / "signed.mp4")
    signer = signer_of(tmp_path, "bad")
    with pytest.raises(
        ValueError, match=f"^certificate: expected one .*, got one that C2PA refuses .*({why})"
    ) as error:
        sign(out / "signed.mp4", DESCRIBED, signer)
    secret = "".join((tmp_path / "bad.key").read_text().splitlines()[1:-1])
    assert secret[:16] not in str(error.value) and list(out.iterdir()) == []


def test_without_the_package_the_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    for call in (made_signer, lambda: signer_of(tmp_path, "mine"), lambda: read(b"")):
        with pytest.raises(ImportError, match="pip install c2pa-python in ComfyUI's Python environment, then restart"):
            call()


@pytest.mark.parametrize(
    ("problems", "validation", "state"),
    [
        (set(), "Valid", "valid"),
        ({"signingCredential.expired"}, "Invalid", "expired"),
        ({"signingCredential.expired", "assertion.bmffHash.mismatch"}, "Invalid", "changed"),
        ({"assertion.bmffHash.mismatch"}, "Invalid", "changed"),
        (set(), "Invalid", "changed"),
    ],
)
def test_a_certificate_that_has_expired_changes_nothing(problems, validation, state):
    assert state_of(problems, validation) == state
