"""What aligners and fine-tuned models have learned.

`identity`: distances between faces, verification and maps (Table 3); `table3`, `seeds` and `focus`: the same
over training seeds, and where the aligners look. `errors`: what the aligners say at each noise level.
`exploit`: whether the real teachers agree with them. `probes` and `layers`: what the blocks
of the transformer hold. The last four on a run folder, with figures:

    python -m semrepa.analysis diagnostics --run-dir runs/lab/06_dit_finetuning/aligned
"""

from semrepa.analysis.identity import (
    Distance,
    IdDistances,
    Verification,
    id_distances,
    pca,
    verification,
    verification_pairs,
    video_distances,
)

__all__ = [
    "Distance",
    "IdDistances",
    "Verification",
    "id_distances",
    "pca",
    "verification",
    "verification_pairs",
    "video_distances",
]
