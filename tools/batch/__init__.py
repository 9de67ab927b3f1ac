"""Many jobs on many machines: a list of jobs and a workflow, run by ComfyUIs that Ray places."""
