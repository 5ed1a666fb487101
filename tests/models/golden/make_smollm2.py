"""Makes `smollm2_mbpp.npy` beside it: what `transformers` says of SmolLM2-135M-Instruct after ten MBPP prompts.

usage: python make_smollm2.py SmolLM2-135M-Instruct.Q4_1.gguf mbpp.jsonl     (needs torch, transformers and gguf)

One record to a prompt: `length`, `tokens` (int32, padded with 0), and of the float32 logits behind the last token
the 32 largest, `logits`, their ids, `ids`, and the logarithm of the sum of all exponentials, `normaliser`.
"""

import json
import pathlib
import sys

import numpy as np

TOP, PROMPTS, LONGEST = 32, 10, 256
RECORD = np.dtype(
    [
        ("length", np.int32),
        ("tokens", np.int32, LONGEST),
        ("ids", np.int32, TOP),
        ("logits", np.float32, TOP),
        ("normaliser", np.float32),
    ]
)


def prompts(mbpp: str) -> list[str]:
    """The first problems of the test split, with their asserts."""
    rows = [json.loads(line) for line in pathlib.Path(mbpp).read_text().splitlines()]
    rows = [row for row in rows if 11 <= row["task_id"] < 11 + PROMPTS]
    return ["\n".join(['"""', row["text"], *row["test_list"], '"""', "def"]) for row in rows]


def main(gguf: str, mbpp: str) -> None:
    """Writes the file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = pathlib.Path(gguf)
    load = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(**load)
    model = AutoModelForCausalLM.from_pretrained(**load, dtype=torch.float32, attn_implementation="eager").eval()
    records = np.zeros(PROMPTS, RECORD)
    for record, prompt in zip(records, prompts(mbpp), strict=True):
        ids = tokenizer.encode(prompt, add_special_tokens=False)
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1].float()
        top = logits.topk(TOP)
        record["length"], record["tokens"][: len(ids)] = len(ids), ids
        record["ids"], record["logits"] = top.indices.numpy(), top.values.numpy()
        record["normaliser"] = logits.logsumexp(0).item()
        print(tokenizer.decode([int(top.indices[0])]), top.values[0].item())
    np.save(pathlib.Path(__file__).parent / "smollm2_mbpp.npy", records)


if __name__ == "__main__":
    main(*sys.argv[1:])
