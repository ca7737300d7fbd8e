"""Build of the mini weights: every network of the `mini` preset, trained on the sample world.

`python -m semrepa.miniature` (or `make weights`) renders the training clips and trains the parts in order;
each part resumes from its last checkpoint and writes a log and its measured quality beside the weights.
"""
