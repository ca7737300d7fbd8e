from inspect import unwrap

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler

from semrepa import diffusion
from semrepa.diffusion import add_noise, clean_prediction, ddim_step, gate, snr, velocity
from tests.tiny import tiny_noise_scheduler

EDGES = torch.tensor([0, 1, 500, 999])
SHAPE = (4, 3, 16, 4, 6)


@pytest.fixture
def table():
    return diffusion.alphas_cumprod(tiny_noise_scheduler())


@pytest.fixture
def exact_table():
    return diffusion.alphas_cumprod(tiny_noise_scheduler(), dtype=torch.float64)


@pytest.fixture
def clips():
    return torch.randn(SHAPE), torch.randn(SHAPE)


@pytest.fixture
def exact_clips():
    return torch.randn(SHAPE, dtype=torch.float64), torch.randn(SHAPE, dtype=torch.float64)


def test_table_is_the_schedulers_own(table, exact_table):
    torch.testing.assert_close(exact_table, tiny_noise_scheduler().alphas_cumprod, rtol=0, atol=0)
    assert table.dtype == torch.float32
    assert table[-1] == 0
    assert (table.diff() < 0).all()


def test_only_v_prediction_is_accepted():
    with pytest.raises(ValueError, match="'epsilon'; expected 'v_prediction'"):
        diffusion.alphas_cumprod(CogVideoXDDIMScheduler(prediction_type="epsilon"))


def test_table_in_half_precision_is_refused():
    with pytest.raises(ValueError, match=r"bfloat16.*expected torch\.float32"):
        diffusion.alphas_cumprod(tiny_noise_scheduler(), dtype=torch.bfloat16)


def test_noise_and_velocity_equal_diffusers_in_float64(exact_table, exact_clips):
    scheduler = tiny_noise_scheduler()
    noisy = add_noise(*exact_clips, EDGES, exact_table)
    torch.testing.assert_close(noisy, scheduler.add_noise(*exact_clips, EDGES), rtol=0, atol=1e-14)
    v = velocity(*exact_clips, EDGES, exact_table)
    torch.testing.assert_close(v, scheduler.get_velocity(*exact_clips, EDGES), rtol=0, atol=1e-14)


def test_perfect_v_gives_the_clean_latents(table, clips):
    latents, noise = clips
    noisy = add_noise(latents, noise, EDGES, table)
    v = velocity(latents, noise, EDGES, table)
    torch.testing.assert_close(clean_prediction(noisy, v, EDGES, table), latents, rtol=0, atol=2e-6)


def test_at_pure_noise_the_clean_prediction_is_minus_v(table, clips):
    noisy, v = clips
    last = torch.full((4,), 999)
    torch.testing.assert_close(clean_prediction(noisy, v, last, table), -v, rtol=0, atol=0)


@pytest.mark.parametrize("index", [0, 1, 25, 49])
def test_one_step_equals_diffusers_sampler(exact_table, exact_clips, index):
    noisy, v = exact_clips
    scheduler = tiny_noise_scheduler()
    scheduler.set_timesteps(50)
    t = scheduler.timesteps[index]
    theirs = scheduler.step(v, t, noisy)
    timesteps = t.repeat(4)
    clean = clean_prediction(noisy, v, timesteps, exact_table)
    torch.testing.assert_close(clean, theirs.pred_original_sample, rtol=0, atol=1e-14)
    stepped = ddim_step(noisy, clean, timesteps, 20, exact_table)
    torch.testing.assert_close(stepped, theirs.prev_sample, rtol=0, atol=1e-13)


def test_perfect_step_lands_on_the_same_noise_one_step_down(exact_table, exact_clips):
    latents, noise = exact_clips
    timesteps = torch.tensor([10, 20, 500, 999])
    noisy = add_noise(latents, noise, timesteps, exact_table)
    stepped = ddim_step(noisy, latents, timesteps, 20, exact_table)
    expected = add_noise(latents, noise, timesteps - 20, exact_table)
    torch.testing.assert_close(stepped, expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(stepped[0], latents[0], rtol=0, atol=1e-14)


def test_depth_with_the_same_noise_differs_by_the_scaled_clean_difference(exact_table, exact_clips):
    latents, noise = exact_clips
    depth = torch.randn(SHAPE, dtype=torch.float64)
    gap = add_noise(depth, noise, EDGES, exact_table) - add_noise(latents, noise, EDGES, exact_table)
    expected = exact_table[EDGES].sqrt().view(-1, 1, 1, 1, 1) * (depth - latents)
    torch.testing.assert_close(gap, expected, rtol=0, atol=1e-14)


def test_step_must_go_down(table, clips):
    with pytest.raises(ValueError, match="got step=0"):
        ddim_step(*clips, EDGES, 0, table)


def test_half_precision_is_computed_in_float32_under_autocast(table):
    latents, noise = torch.randn(SHAPE).bfloat16(), torch.randn(SHAPE).bfloat16()
    timesteps = torch.tensor([0, 1, 2, 999])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        noisy = add_noise(latents, noise, timesteps, table)
        clean = clean_prediction(noisy, velocity(latents, noise, timesteps, table), timesteps, table)
    assert clean.dtype == torch.float32
    torch.testing.assert_close(clean, latents.float(), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("shift", "crossing"), [(1.0, 337), (3.0, 195)])
def test_identity_counts_where_signal_outweighs_noise(shift, crossing):
    scheduler = CogVideoXDDIMScheduler.from_config(tiny_noise_scheduler().config, snr_shift_scale=shift)
    table = diffusion.alphas_cumprod(scheduler)
    timesteps = torch.arange(1000)
    g_struct, g_id = gate("snr", timesteps, table)
    assert g_id.tolist() == [float(t < crossing) for t in range(1000)]
    torch.testing.assert_close(g_struct, table, rtol=0, atol=0)
    ratio = snr(timesteps, table)
    assert ratio[crossing - 1] >= 1 > ratio[crossing]


def test_paper_gate_counts_all(table):
    for factor in gate("none", EDGES, table):
        assert factor.tolist() == [1.0] * 4


def test_unknown_gate_is_an_error(table):
    with pytest.raises(ValueError, match="got gate='soft'"):
        unwrap(gate)("soft", EDGES, table)
