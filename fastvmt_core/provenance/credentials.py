"""Content Credentials (C2PA) of a video file: what is written into it, by whose certificate, and what is read from it.

Nothing here uses the network: no time stamp authority, no remote manifest, no revocation list. c2pa-python, and the
cryptography that it brings, are optional, and imported only where they are used.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Set
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from ..motion.file_names import inside

TEST = "FastVMT test certificate"
"""Who signs where a user has no certificate."""
TYPES = {"mp4": "video/mp4", "webp": "image/webp"}
"""Kinds of files that can be written."""
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""C2PA's term for what a trained model made."""
_AGENT = {"name": "FastVMT for ComfyUI"}
_PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1", "1.3.6.1.4.1.311.76.59.1.9")
"""What a certificate may be for: mail, documents, and C2PA's claims by two names."""
EXPIRED = "signingCredential.expired"
"""C2PA's code of a certificate that is no longer valid today."""
_NO_NETWORK = {"remote_manifest_fetch": False, "ocsp_fetch": False}
_SETTINGS = {"verify": _NO_NETWORK, "trust": {"trust_config": "\n".join(_PURPOSES)}}
_ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "RSAPublicKey": "ps256", "Ed25519PublicKey": "ed25519"}
"""A public key's curve, or its class where it has none -> what C2PA calls its signatures."""


def require_package() -> ModuleType:
    """The module c2pa.

    Raises:
        ImportError: it or cryptography is not installed; the message has the command.
    """
    try:
        import c2pa
        import cryptography  # noqa: F401
    except ImportError as error:
        command = "pip install c2pa-python in ComfyUI's Python environment, then restart."
        raise ImportError(f"Content Credentials need c2pa-python ({error}): {command}") from error
    return c2pa


def identities(folder: Path) -> list[str]:
    """Names of the certificates (.pem) in a folder that have a private key (.key) beside them."""
    return sorted(path.stem for path in folder.glob("*.pem") if path.with_suffix(".key").is_file())


def signer_of(folder: Path, name: str) -> Any:  # noqa: ANN401
    """C2PA's `C2paSignerInfo` of a user's own certificate, `name`.pem with its chain, and key, `name`.key.

    Raises:
        ImportError: c2pa-python is not installed.
        ValueError: one of the files cannot be read, or the certificate is of a kind that C2PA does not know.
    """
    c2pa, chain = require_package(), inside("certificate", folder, f"{name}.pem")
    try:
        certificate, key = chain.read_bytes(), chain.with_suffix(".key").read_bytes()
        return c2pa.C2paSignerInfo(_algorithm(certificate), certificate, key, None)
    except (OSError, ValueError, KeyError) as error:
        expected = f"{name}.pem and {name}.key in {folder}, PEM, of the kind {', '.join(_ALGORITHMS)}"
        raise ValueError(f"certificate: expected {expected}, got none that can be read ({error}).") from error


def made_signer() -> Any:  # noqa: ANN401
    """The same of a test certificate that is made now, and whose key nobody keeps."""
    c2pa = require_package()
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    # Under a root that is nowhere: by C2PA's rules no certificate vouches for itself.
    root, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    oids, texts = (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME), (f"{TEST} (root)", TEST)
    issuer, subject = (x509.Name([x509.NameAttribute(oid, text) for oid in oids]) for text in texts)
    # No authority tells when a file was signed, so that C2PA asks whether the certificate is valid when it is read.
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    since, until = now - day, now + 3650 * day
    made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), since, until)
    made = made.add_extension(x509.KeyUsage(True, *[False] * 8), critical=True)
    made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
    made = made.add_extension(above, critical=False)
    chain = made.sign(root, hashes.SHA256()).public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return c2pa.C2paSignerInfo(_algorithm(chain), chain, private, None)


def manifest(hashes: Mapping[str, str], marked: bool, test: bool) -> dict[str, Any]:
    """What is written into a generated video.

    Args:
        hashes: of what it was made from, in hexadecimal: "motion" and "reference", where they are known.
        marked: whether its pixels hold a mark.
        test: whether a test certificate signs.
    """
    source = {"format": "application/octet-stream", "relationship": "inputTo"}
    ingredients = [{"title": name, "instance_id": f"urn:sha256:{of}", **source} for name, of in hashes.items()]
    actions = [{"action": "c2pa.created", "softwareAgent": _AGENT, "digitalSourceType": GENERATED}]
    if ingredients:
        used = {"ingredientIds": [each["instance_id"] for each in ingredients], "description": "Motion transfer"}
        actions.append({"action": "c2pa.edited", "softwareAgent": _AGENT, "parameters": used})
    actions += [{"action": "c2pa.watermarked.unbound", "softwareAgent": _AGENT}] * marked
    assertions = [{"label": "c2pa.actions.v2", "data": {"actions": actions}}]
    note = f"Signed with a {TEST}, which anyone can make: it shows changes, and proves no identity."
    assertions += [{"label": "fastvmt.signature", "data": {"test_certificate": True, "note": note}}] * test
    return {"claim_generator_info": [_AGENT], "ingredients": ingredients, "assertions": assertions}


def sign(path: Path, described: Mapping[str, Any], signer: Any) -> None:  # noqa: ANN401
    """Write its manifest into a file. Where that fails there is no file: what is unsigned is not left behind.

    Raises:
        ValueError: C2PA does not take the certificate: it is out of date, not for signing, or not the key's.
        OSError: the folder cannot be written.
    """
    c2pa, signed = require_package(), path.with_name(f".{path.name}.part")
    try:
        with c2pa.Signer.from_info(signer) as signing, c2pa.Context.from_dict(_SETTINGS) as context:
            with c2pa.Builder({"title": path.name, **described}, context) as builder, path.open("rb") as read:
                with signed.open("w+b") as written:
                    builder.sign(signing, TYPES[path.suffix[1:]], read, written)
        signed.replace(path)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if not isinstance(error, c2pa.C2paError):
            raise
        expected = "one for documents, mail or C2PA, valid today, and its key in PKCS #8 without a password"
        raise ValueError(f"certificate: expected {expected}, got one that C2PA refuses ({error}).") from error
    finally:
        signed.unlink(missing_ok=True)


def credentials_of(file: BinaryIO) -> dict[str, Any]:
    """What a file's manifest states, as JSON holds it.

    `state` is "none", "valid" (signature and contents fit; who signed is not checked against any list), "expired" (they
    fit, and the certificate was valid once), "changed" or "damaged" (there is a manifest that cannot be read).
    `problems` are C2PA's own codes.
    """
    c2pa = require_package()
    try:
        with c2pa.Context.from_dict(_SETTINGS) as context, c2pa.Reader(file, context=context) as reader:
            found, active = json.loads(reader.json()), reader.get_active_manifest()
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return {"state": "none"}
    except c2pa.C2paError as error:
        return {"state": "damaged", "problems": [f"{error}"]}
    try:
        return _stated(found, active)
    except (AttributeError, KeyError, TypeError) as error:
        return {"state": "damaged", "problems": [f"a manifest of another form ({error!r})"]}


def state_of(problems: Set[str], validation: str) -> str:
    """The state of credentials by C2PA's own codes and verdict."""
    if problems == {EXPIRED}:
        return "expired"
    return "changed" if problems or validation == "Invalid" else "valid"


def _stated(found: Mapping[str, Any], active: Mapping[str, Any]) -> dict[str, Any]:
    problems = {each["code"] for each in found.get("validation_status", [])} - {"signingCredential.untrusted"}
    lists = [each["data"]["actions"] for each in active["assertions"] if each["label"].startswith("c2pa.actions")]
    signature, actions = active.get("signature_info", {}), sum(lists, [])
    return {
        "state": state_of(problems, found["validation_state"]),
        "problems": sorted(problems),
        "signed_by": signature.get("common_name") or signature.get("issuer"),
        "test_certificate": signature.get("issuer") == TEST,
        "generated": any(action.get("digitalSourceType") == GENERATED for action in actions),
        "actions": [action["action"] for action in actions],
        "ingredients": {each.get("title"): each.get("instance_id") for each in active.get("ingredients", [])},
    }


def _algorithm(certificate: bytes) -> str:
    from cryptography.x509 import load_pem_x509_certificate

    key = load_pem_x509_certificate(certificate).public_key()
    return _ALGORITHMS[key.curve.name if hasattr(key, "curve") else type(key).__name__]
