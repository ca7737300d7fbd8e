"""Scores of videos from plain tensors; networks and teachers are given by the caller."""
