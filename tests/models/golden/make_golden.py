"""Makes the .npz files beside it: a tiny random model of each family, as `transformers` saves it, and its logits.

usage: python make_golden.py        (needs torch and transformers; prm_jax is not used)

Each file holds the bytes of `config.json` and `model.safetensors`, the token ids `tokens`, int64 [2, 40], and the
float32 `logits`, [2, 40, 64], of `AutoModelForCausalLM` in float32 with plain attention.
"""

import pathlib
import tempfile

import numpy as np

FOLDER = pathlib.Path(__file__).parent
SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
# Rows are longer than the context that a scaling starts from.
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
CASES = {
    "smollm2": {"model_type": "llama", "tie_word_embeddings": True, "rope_theta": 100000.0},
    "llama3": {"model_type": "llama", "rope_scaling": LLAMA3, "rope_theta": 500000.0},
    "llama_linear": {"model_type": "llama", "rope_scaling": {"rope_type": "linear", "factor": 3.0}, "head_dim": 16},
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": True, "rope_theta": 1000000.0},
    "qwen2_yarn": {"model_type": "qwen2", "rope_scaling": YARN, "rms_norm_eps": 1e-5},
    "qwen3": {"model_type": "qwen3", "head_dim": 12, "rope_theta": 1000000.0},
}


def build(case: str, seed: int = 0):
    """A random model; every tensor is random, biases and norms too."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    own = dict(CASES[case])
    config = AutoConfig.for_model(own.pop("model_type"), **SHAPE, **own)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").to(torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            mean = 1.0 if "norm" in name else 0.0
            tensor.copy_(mean + 0.2 * torch.randn(tensor.shape, generator=generator))
    return model


def tokens(seed: int = 0) -> np.ndarray:
    """Two rows of ids."""
    return np.random.default_rng(seed).integers(SHAPE["vocab_size"], size=(2, 40))


def logits(model, ids: np.ndarray) -> np.ndarray:
    """What the model says of rows without padding."""
    import torch

    with torch.no_grad():
        return model(input_ids=torch.from_numpy(ids)).logits.float().numpy()


def main() -> None:
    """Writes one file for each case."""
    for case in CASES:
        model = build(case)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            names = ("config.json", "model.safetensors")
            files = {name: np.fromfile(f"{folder}/{name}", np.uint8) for name in names}
        np.savez_compressed(FOLDER / f"{case}.npz", tokens=tokens(), logits=logits(model, tokens()), **files)
        print(case, (FOLDER / f"{case}.npz").stat().st_size)


if __name__ == "__main__":
    main()
