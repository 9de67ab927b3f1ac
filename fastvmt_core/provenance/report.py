"""What was found in a video of unknown origin, in words."""

from __future__ import annotations

from typing import Any

from .mark import Mark

_MOST = 200
"""Letters of a line, of which a stranger wrote some."""
_STATES = {
    "none": "Content Credentials: none.",
    "unread": "Content Credentials: not read. {problems}",
    "damaged": "Content Credentials: DAMAGED. {problems}",
    "changed": "Content Credentials: CHANGED since {signed_by} signed ({problems}). Do not trust what they state.",
    "valid": "Content Credentials: unchanged since {signed_by} signed.",
    "expired": "Content Credentials: unchanged since {signed_by} signed. The certificate has expired since.",
}
_SIGNERS = "Whether the certificate belongs to that name is not checked.", "A test certificate proves no identity."


def in_words(found: dict[str, Any], mark: Mark | None) -> str:
    """Credentials and mark for a person who looks at the node; no mark: there is no video that can be read."""
    read = "not read, as there is no video that can be read" if mark is None else "none found"
    read = f"{mark.number}, by chance {mark.doubt:.0e}" if mark is not None and mark.found else read
    facts = {"signed_by": "?", **found, "problems": ", ".join(found.get("problems", ()))}
    lines = [_STATES[found["state"]].format(**facts), f"Mark: {read}."]
    if found["state"] in ("valid", "expired"):
        lines += [_SIGNERS[found["test_certificate"]], *["States: a trained model generated it."] * found["generated"]]
        lines += [f"States: made from {name} {identity}." for name, identity in found["ingredients"].items()]
    # A stranger's line breaks would make lines that look like ours.
    plain = ("".join(letter if letter.isprintable() else " " for letter in line) for line in lines)
    return "\n".join(line[:_MOST] for line in plain)
