"""Figures of diagnostics draw plausible numbers, with the right words on them."""

import numpy as np
from ui.test_figures import draw

from semrepa.analysis.errors import NOISED, TRUE, Reading
from semrepa.analysis.exploit import compare
from semrepa.analysis.layers import LayerScore
from semrepa.analysis.probes import ClipRatio
from semrepa.ui.diagnostics import error_curves, exploit_scatter, layer_curves

RANDOM = np.random.default_rng(0)
NAMES = ("struct_mse", "abs_rel", "id_l1", "id_cosine", "id_loss", "face_error")


FLOORS = {"zero output": 0.521, "mean output": 0.52, "copy of the video": 90.0}


def readings():
    """Errors that grow with the noise, smaller ones after fine-tuning."""
    made = []
    for clip in "abcdef":
        made.append(Reading(clip=clip, timestep=None, seen=TRUE, values=dict.fromkeys(NAMES, 0.2)))
        for level in (100, 500, 900):
            for seen, size in ((NOISED, 2.0), ("base", 1.0), ("aligned", 0.9)):
                error = 0.2 + size * level / 1000 + 0.01 * RANDOM.normal()
                made.append(Reading(clip=clip, timestep=level, seen=seen, values=dict.fromkeys(NAMES, error)))
    return made


def test_errors_name_what_was_looked_at_and_the_floors():
    text = draw(error_curves(readings(), floors={"struct_mse": FLOORS}))
    for word in (
        TRUE,
        NOISED,
        "base",
        "aligned",
        "mean output, zero output 0.52",
        "AbsRel",
        "L1 to the face teacher",
        "timestep",
    ):
        assert word in text
    assert "copy of the video" not in text  # far above everything


def test_errors_of_one_aligner_alone():
    alone = [Reading(**{**vars(r), "values": {"struct_mse": r.values["struct_mse"]}}) for r in readings()]
    text = draw(error_curves(alone))
    assert "structure aligner" in text
    assert "face teacher" not in text


def test_layers_name_models_and_scores():
    def scores(size):
        ratio = [ClipRatio(RANDOM.normal(0.1 * size * k, 0.01, 9), np.ones(9)) for k in range(5)]
        return [
            LayerScore(layer=k, depth=r, identity=r, auc=0.5, cknna_depth=0.1 * k, cknna_identity=0.1)
            for k, r in enumerate(ratio)
        ]

    text = draw(layer_curves({"base": scores(1), "aligned": scores(2)}))
    for word in (
        "R²",
        "cosine, held-out people",
        "CKNNA",
        "base 0.4",
        "gain by fine-tuning",
        "minus base",
        "aligned",
        "block (0: their input)",
    ):
        assert word in text


def test_scatter_without_an_answer_says_so():
    assert "No answer: a question needs two clips" in draw(exploit_scatter({}))


def test_scatter_states_the_verdict_and_its_numbers():
    found = compare(readings(), "base", "aligned", aligner="id_loss", judge="face_error")
    text = draw(exploit_scatter({("base", "aligned", "id_loss", "face_error"): found}))
    words = ("base → aligned: the judge agrees", "face teacher on the decoded video", "one sign 100%")
    for word in (*words, "only the aligner is pleased", "both see a gain", "change of the identity loss"):
        assert word in text
