"""Figures, live plots and explorers for the notebooks; nothing else in the library imports this folder."""
