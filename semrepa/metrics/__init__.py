"""Scores of videos from plain tensors; networks and teachers stay outside."""
