"""Table 3 over seeds: numbers of known embeddings, pairing, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from semrepa.analysis import table3
from semrepa.analysis.table3 import LABELS, PAPER, WITH, WITHOUT, Cell


def people_in_two_clips(noise: float, length: float = 1.0, people: int = 12):
    """Embeddings of people around centres of their own, teacher embeddings, mask and names."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(people, 64, generator=generator), dim=-1)
    teacher = torch.cat([centres, centres])[:, None].expand(-1, 5, -1).contiguous()
    embeds = length * (teacher + noise * torch.randn(2 * people, 5, 64, generator=generator))
    mask = torch.ones(2 * people, 5, dtype=torch.bool)
    mask[0, :2] = False
    return embeds, teacher, mask, [*range(people), *range(people)]


def test_a_perfect_aligner():
    embeds, teacher, mask, people = people_in_two_clips(0.0)
    found = table3.scores(embeds, teacher, mask, people)
    assert list(found) == list(LABELS)
    assert found["cosine_to_teacher"] == pytest.approx(1) and found["norm"] == pytest.approx(1)
    assert found["l1_to_teacher"] == 0
    assert found["intra_cosine"] == pytest.approx(0, abs=1e-6)
    assert found["gap_cosine"] == pytest.approx(found["inter_cosine"], abs=1e-6)
    assert found["inter_cosine"] == pytest.approx(1, abs=0.1)  # strangers are at right angles
    assert found["inter_l2"] == pytest.approx(2**0.5, abs=0.1)
    assert found["auc_one_video"] == found["auc_two_videos"] == 1
    assert found["eer_two_videos"] == 0


def test_length_shows_in_the_norm_and_not_in_the_cosine():
    long, teacher, mask, people = people_in_two_clips(0.05, length=3.0)
    found = table3.scores(long, teacher, mask, people)
    usual = table3.scores(long / 3, teacher, mask, people)
    assert found["norm"] == pytest.approx(3 * usual["norm"])
    assert found["gap_cosine"] == pytest.approx(usual["gap_cosine"])
    assert found["gap_l1"] == pytest.approx(3 * usual["gap_l1"])


def test_knowing_a_clip_is_not_knowing_a_person():
    embeds, teacher, mask, people = people_in_two_clips(0.02)
    clip = torch.nn.functional.normalize(torch.randn(len(embeds), 1, 64), dim=-1)
    found = table3.scores(embeds * 0.05 + clip, teacher, mask, people)
    assert found["auc_one_video"] > 0.999
    assert found["auc_two_videos"] < 0.75


def test_curves_are_read_at_fixed_places_and_rise():
    embeds, _, mask, people = people_in_two_clips(0.3)
    found = table3.curves(embeds, mask, people)
    assert set(found) == set(table3.ROC_PAIRS)
    for curve in found.values():
        assert len(curve) == len(table3.FALSE_ACCEPTS)
        assert (np.diff(curve) >= 0).all() and curve[-1] == 1
        assert 0 < curve[0] < 1


def cells(seeds=(0, 1, 2)) -> list[Cell]:
    """Two variants of every seed, with depth ahead by 0.1 in the gap and by nothing sure in the norm."""
    found = []
    for seed in seeds:
        for variant, gain in ((WITH, 0.1 + 0.001 * seed), (WITHOUT, 0.0)):
            numbers = dict.fromkeys(LABELS, 0.5) | {
                "gap_cosine": 0.5 * seed + gain,
                "norm": (-1.0) ** seed * gain,
            }
            extra = {"depth_gradient": 0.25} if variant == WITH else {}
            curves = dict.fromkeys(table3.ROC_PAIRS, [0.5] * len(table3.FALSE_ACCEPTS))
            about = {"seed": seed, "variant": variant, "curves": curves, "seconds": 1.0}
            persons = {"gap_cosine": [gain, gain + 0.1 * seed, gain]}
            found.append(Cell(**about, scores=numbers | extra, persons=persons))
    return found


def test_means_and_paired_differences():
    found = table3.table(cells())
    assert found["gap_cosine"][WITHOUT].mean == pytest.approx(0.5)
    difference = found["gap_cosine"]["difference"]
    assert difference.mean == pytest.approx(0.101) and difference.is_clear
    assert difference.high - difference.low < 0.01  # the seeds' own spread is 50 times as large
    assert not found["norm"]["difference"].is_clear
    assert set(found["depth_gradient"]) == {WITH}


def test_numbers_of_each_person_make_the_mean():
    embeds, teacher, mask, people = people_in_two_clips(0.1)
    mask[[3, 15]] = False  # nobody sees the fourth person
    found = table3.by_person(embeds, teacher, mask, [f"{person:02}" for person in people])
    assert [np.isnan(value) for value in found["gap_cosine"]] == [k == 3 for k in range(12)]
    likeness = torch.cosine_similarity(embeds, teacher, dim=-1)
    mine = [likeness[clip][mask[clip]] for clip in (0, 12)]
    assert found["cosine_to_teacher"][0] == pytest.approx(torch.cat(mine).mean().item(), abs=1e-6)
    whole = table3.scores(embeds, teacher, mask, people)["gap_cosine"]
    assert np.nanmean(found["gap_cosine"]) == pytest.approx(whole, abs=1e-6)


def test_differences_over_people_are_paired():
    found = table3.over_people(cells())["gap_cosine"]
    assert found.mean == pytest.approx(0.101) and found.clips == 3
    assert found.high - found.low < 1e-6  # the second person is far from the others, in both variants


def test_order_of_the_cells_does_not_matter():
    assert table3.table(cells()) == table3.table(cells()[::-1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found[:-1], "without_depth of seed 2"),
        (lambda found: [*found, found[0]], "with_depth of seed 0"),
        (lambda found: [], "no cells"),
        (lambda found: [*found, replace(found[0], seed=7)], "without_depth of seed 7"),
    ],
)
def test_a_table_that_is_not_paired_is_refused(change, said):
    with pytest.raises(ValueError, match=f"not paired.*{said}"):
        table3.table(change(cells()))


@pytest.mark.parametrize("scores", [{"gap_cosine": float("nan")}, {}])
def test_a_failed_training_is_not_averaged_away(scores):
    found = cells()
    found[0] = replace(found[0], scores=scores)
    with pytest.raises(ValueError, match="over seeds; expected at least one, all finite"):
        table3.table(found)


@pytest.fixture
def recorded():
    references = {"face teacher": {"gap_cosine": 0.9}}
    return table3.record(cells(), references, {"seeds": [0, 1, 2], "weights": "mini"})


def test_the_record_is_json_and_comes_back(recorded, tmp_path):
    file = tmp_path / "table3.json"
    file.write_text(json.dumps(recorded))
    assert table3.read_record(file) == recorded
    assert recorded["weights"] == "mini" and len(recorded["cells"]) == 6


def test_a_missing_record_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m semrepa\.miniature\.table3"):
        table3.read_record(tmp_path / "table3.json")


def test_rows_show_the_papers_values_beside_one_distance(recorded):
    lines = {line[""]: line for line in table3.rows(recorded)}
    gap = lines["gap, 1 - cosine"]
    assert gap["paper, with depth"] == "0.0882" and gap["paper, without depth"] == "0.0597"
    assert gap["face teacher"] == "0.9"
    assert lines["gap, mean L1"]["paper, with depth"] == ""
    assert lines["ratio, 1 - cosine"]["paper, with depth"] == ""


def test_columns_without_anything_are_left_out(recorded):
    (line,) = table3.rows(recorded, ["depth_gradient"])
    assert list(line) == ["", "with depth"]


def test_papers_gap_is_inter_minus_intra():
    for numbers in PAPER.values():
        assert numbers["gap"] == pytest.approx(numbers["inter"] - numbers["intra"])


def test_markdown_marks_what_is_clear(recorded):
    text = table3.markdown(recorded, ["gap_cosine", "norm"])
    head, rule, gap, norm = text.splitlines()
    assert head.count("|") == rule.count("|") == gap.count("|")
    assert gap.split("|")[4].strip().startswith("**0.101")
    assert "**" not in norm
