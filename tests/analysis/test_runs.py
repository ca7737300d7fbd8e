"""Models side by side: the base as it is, the fine-tuned ones as they were exported."""

import pytest
import torch
from training.clips import HELDOUT, TRAIN

from semrepa.analysis.runs import load_models
from semrepa.config import override
from semrepa.training.evaluate import in_order
from semrepa.training.finetune import finetune


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_a_run_beside_its_base(cfg, store, parts, aligners, batches, tmp_path, mode):
    changes = {"finetune": {"steps": 2, "mode": mode, "lr": 0.01}, "model.dtype": "float32"}
    cfg = override(cfg, changes)
    ids = {"train_ids": TRAIN, "heldout_ids": HELDOUT}
    list(finetune(cfg, store, tmp_path / "tuned", parts=parts, aligners=aligners, **ids))
    models = load_models(cfg, {"tuned": tmp_path / "tuned"})
    assert list(models) == ["base", "tuned"]
    base, tuned = models["base"], models["tuned"]
    torch.testing.assert_close(
        base.transformer.state_dict()["proj_out.weight"], parts.transformer.proj_out.weight
    )
    answers = [next(iter(model.views(in_order(batches[:1]), 0)))[1](500) for model in (base, tuned)]
    assert torch.equal(answers[0].noisy_latents, answers[1].noisy_latents)
    assert (answers[0].v_pred - answers[1].v_pred).abs().max() > 1e-3
    assert not any(weight.requires_grad for model in models.values() for weight in model.parameters())
    assert base.frozen is tuned.frozen


def test_no_run_takes_the_name_of_the_base(cfg, tmp_path):
    with pytest.raises(ValueError, match="called 'base'"):
        load_models(cfg, {"base": tmp_path})
