"""The host in this process, which the training imports."""

from tests.host.conftest import comfyui  # noqa: F401
