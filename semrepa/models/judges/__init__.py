"""Frozen networks that judge videos: LPIPS, the Inception of FID, optical flow, CLIP.

Each knows where its weights come from. Without a file it has random weights, where it can at a size that a
laptop bears, and says so (`kind` random): every path can be run without a hub, and no number of it can pass
for a real one.
"""
