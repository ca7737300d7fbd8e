"""From a video file to pictures in memory; the only place that knows decord, and PyAV for reading.

`opening` asks a file what it is, `pictures` reads a clip, `child` does so in a process with a time limit.
Nothing here needs torch, so that a child starts quickly.
"""
