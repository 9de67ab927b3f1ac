"""Where a video is from: a signed manifest in its file, and a number in its pixels."""
