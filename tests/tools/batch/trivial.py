"""Boxes without a ComfyUI, for what Ray and the driver do: in workers' processes, so they have a file of their own."""

import json
import os
import signal

from tools.batch.worker import Result


class TrivialBox:
    """Brings its graph back as a file; a text ``act`` in it says what else happens."""

    def start(self):
        pass

    def stop(self):
        pass

    def run(self, order):
        act = order.graph["1"]["inputs"]["act"]
        if act == "fail":
            return Result("here", error="ValueError: this job cannot be done")
        if act == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if act == "raise":
            raise OSError("the disk is full")
        return Result("here", [("1", "graph.txt", json.dumps(order.graph).encode())])


class DeadBox(TrivialBox):
    """One that does not start."""

    def start(self):
        raise FileNotFoundError("there is no ComfyUI")
