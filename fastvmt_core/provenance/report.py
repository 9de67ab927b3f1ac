"""What was found in a video of unknown origin, as JSON and in words."""

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
}
_SIGNERS = {
    True: "A test certificate, which anyone can make: it proves no identity.",
    False: "Whether the certificate belongs to that name is not checked.",
}


def report_of(credentials: dict[str, Any], mark: Mark | None) -> dict[str, Any]:
    """Everything that was found, as JSON holds it; no mark is one of frames that cannot be read."""
    if mark is None:
        return {"credentials": credentials, "mark": {"found": False, "doubt": None, "kept": None}}
    number = {"number": mark.number, "bits": f"{mark.number:032b}"} if mark.found else {}
    return {"credentials": credentials, "mark": {"found": mark.found, "doubt": mark.doubt, "kept": mark.kept, **number}}


def in_words(report: dict[str, Any]) -> str:
    """The same for a person who looks at the node."""
    found, mark = report["credentials"], report["mark"]
    facts = {"signed_by": "?", **found, "problems": ", ".join(found.get("problems", ()))}
    missing = "none found" if mark["kept"] else "not read, the pictures are damaged"
    read = f"Mark: {mark['number']}, by chance {mark['doubt']:.0e}." if mark["found"] else f"Mark: {missing}."
    lines = [_STATES[found["state"]].format(**facts), read]
    if found["state"] == "valid":
        lines += [_SIGNERS[found["test_certificate"]], *["States: a trained model generated it."] * found["generated"]]
        lines += [f"States: made from {name} {identity}." for name, identity in found["ingredients"].items()]
    return "\n".join(line[:_MOST] for line in lines)
