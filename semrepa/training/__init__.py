"""Training: one loop, checkpoints, pretraining of the two aligners, fine-tuning with both.

for log in finetune(cfg, store, "runs/a", train_ids=..., heldout_ids=...):
    print(log.step, log.loss)
"""
