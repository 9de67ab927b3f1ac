"""The page's two canvases, for tests that are run on each."""

import pytest

CANVASES = [
    pytest.param(False, id="classic", marks=pytest.mark.slow),
    pytest.param(True, id="nodes2"),
]
"""Whether Nodes 2.0 is on. scripts/test.sh runs the newer one alone."""
