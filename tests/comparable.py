"""How two rows of `evaluations` were measured that have nothing in common."""

ALIKE = {
    "weights": "ema", "samples": 100, "sampler": "ab2", "steps": 20, "guidance": 2.0, "guidance_low": 0.1,
    "guidance_high": 0.9, "negative_prompt": None, "shift": 1.0, "precision": "fp32", "seed": 0,
    "feature_extractor": "inception", "reference": "abc",
}  # fmt: skip

OTHERWISE = {
    "weights": "raw", "samples": 50, "sampler": "euler", "steps": 10, "guidance": 1.0, "guidance_low": 0.0,
    "guidance_high": 1.0, "negative_prompt": "a blur", "shift": 3.0, "precision": "bf16", "seed": 1,
    "feature_extractor": "classifier:abc", "reference": None,
}  # fmt: skip
