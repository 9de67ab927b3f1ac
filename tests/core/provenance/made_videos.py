"""Small video files and certificates for the tests of their origin."""

from __future__ import annotations

import datetime

import av
import numpy as np
from PIL import Image

NOW = datetime.datetime.now(datetime.timezone.utc)
CLAIMS, SERVER = "1.3.6.1.4.1.62558.2.1", "1.3.6.1.5.5.7.3.1"
"""Purposes of certificates: to sign claims of C2PA, to be a server."""


def frames(count=6, size=128):
    random = np.random.default_rng(1)
    return [np.kron(random.integers(0, 256, (8, 8, 3)), np.ones((size // 8, size // 8, 1))) for _ in range(count)]


def write_video(path):
    """A video of the kind that the ending names."""
    images = [frame.astype(np.uint8) for frame in frames()]
    if path.suffix == ".webp":
        pictures = [Image.fromarray(image) for image in images]
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=62)
        return path
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9" if path.suffix == ".webm" else "libx264", rate=16)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def new_key(kind="secp256r1"):
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    made = {
        "secp256r1": lambda: ec.generate_private_key(ec.SECP256R1()),
        "secp384r1": lambda: ec.generate_private_key(ec.SECP384R1()),
        "secp521r1": lambda: ec.generate_private_key(ec.SECP521R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    return made[kind]()


def write_certificate(folder, name, key, days=30, signs=True, purpose=CLAIMS):
    """A creator's certificate under a root that is not in the file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    root = new_key()
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (name, "A root")]
    made = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=60))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(signs, False, not signs, *[False] * 6), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
        .sign(root, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))


def write_key(folder, name, key, password=None):
    from cryptography.hazmat.primitives import serialization

    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    (folder / f"{name}.key").write_bytes(pem)
