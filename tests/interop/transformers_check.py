#!/usr/bin/env python3
"""Is a directory that we wrote the same model to Hugging Face transformers?

    transformers_check.py THEIRS OURS

THEIRS: a directory that transformers wrote; OURS: what `mambase model convert --to hf THEIRS OURS`
made of it. Compares names, shapes and bytes of the tensors and the keys of config.json; where
transformers and torch are installed, loads both and compares logits. Exit status: 0 the same, 1 a
difference, 77 the files agree but transformers is not there (skipped).
"""

import json
import pathlib
import struct
import sys

SKIPPED = 77


def read_safetensors(path):
    """name -> (dtype, shape, bytes)"""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    start = 8 + length
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], entry["shape"], data[start + begin : start + end])
    return tensors


def compare_tensors(theirs, ours):
    for name in sorted(theirs.keys() | ours.keys()):
        if name not in ours:
            yield f"tensor {name} is missing"
        elif name not in theirs:
            yield f"tensor {name} is not in theirs"
        elif theirs[name] != ours[name]:
            yield f"tensor {name} differs: {theirs[name][:2]} and {ours[name][:2]}"


def compare_configs(theirs, ours):
    for key in sorted(theirs.keys() | ours.keys()):
        if key not in ours:
            yield f"config key {key} is missing"
        elif key not in theirs:
            yield f"config key {key} is not in theirs"
        elif theirs[key] != ours[key]:
            yield f"config key {key} is {ours[key]!r}, theirs {theirs[key]!r}"


def compare_logits(theirs, ours):
    import torch
    from transformers import MambaForCausalLM

    torch.manual_seed(0)
    models = [MambaForCausalLM.from_pretrained(path).eval() for path in (theirs, ours)]
    ids = torch.randint(0, models[0].config.vocab_size, (2, 129))
    with torch.no_grad():
        logits = [model(ids).logits for model in models]
    if not torch.equal(logits[0], logits[1]):
        yield f"logits differ by up to {(logits[0] - logits[1]).abs().max().item():.3g}"


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    theirs, ours = (pathlib.Path(argument) for argument in sys.argv[1:])
    differences = list(
        compare_tensors(
            read_safetensors(theirs / "model.safetensors"),
            read_safetensors(ours / "model.safetensors"),
        )
    )
    differences += compare_configs(
        json.loads((theirs / "config.json").read_text()),
        json.loads((ours / "config.json").read_text()),
    )
    try:
        differences += compare_logits(theirs, ours)
        skipped = False
    except ImportError as error:
        print(f"SKIPPED the logits: {error}")
        skipped = True
    for difference in differences:
        print(difference)
    if differences:
        return 1
    print(f"{ours}: the same tensors and config as {theirs}" + ("" if skipped else ", and logits"))
    return SKIPPED if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
