"""Go on training a reader with an organisation's approved answers. The product runs it as a process of its own.

Reads one JSON object from standard input, the reader to go on from (`artefact`, base64) and the `pairs`, and writes one
to standard output: the new reader and how both do on every fourth document, which is held apart. Neither words nor
weights are ever on a disk in the clear. Whether the new reader is used is for the caller to decide.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from strongroom import airgap

APART = 4  # every so many documents are held apart
RATE = 4e-5  # far below that of the first training: a few hundred pairs must not undo what thousands taught
EPOCHS = 3


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, train, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m models.training.approved", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="folder of the embedder that it is a difference to")
    asked = parser.parse_args(arguments)
    airgap.prepare_environment()
    given = json.load(sys.stdin)
    told, artefact = learn(given["pairs"], base64.b64decode(given["artefact"]), asked.base)
    sys.stdout.write(json.dumps(told | {"artefact": base64.b64encode(artefact).decode()}) + "\n")


def learn(pairs: Sequence[dict[str, Any]], artefact: bytes, base: Path) -> tuple[dict[str, Any], bytes]:
    """Train on most documents and compare on the others: what to say of it, and the new artefact."""
    import torch

    from models.pairs import PairTokenizer
    from models.reader import reference_of
    from models.reader_network import load_base
    from models.reader_weights import about, dumps, merged
    from models.training.examples import rows
    from models.training.export import packed
    from models.training.measure import report
    from models.training.train import Recipe, device_of, train

    examples, held = split(pairs)
    tokenizer = PairTokenizer(base / "tokenizer.json")

    def network_of(packed: bytes) -> Any:
        network = load_base(base)
        tensors = merged(packed, base / "model.safetensors")
        network.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        return network.to(device_of())

    network, told = network_of(artefact), about(artefact)
    before = report(network, held, tokenizer)
    recipe = Recipe(rate=RATE, seed=len(pairs))
    network = train(network, [rows(examples, tokenizer)] * EPOCHS, recipe, None, tell=_tell)
    says = {"base": told["base"], "licence": told["licence"]}
    says["name"] = f"{told['name'].partition('+')[0]}+{len(examples)}"
    says["recipe"] = {"from": told["fingerprint"], "examples": len(examples)}
    tensors, says = packed(network, base, told["calibration"], says)
    reference = reference_of(dumps(tensors, says), base, base / "tokenizer.json")  # it travels along: nothing is kept
    trained = dumps(tensors, says | {"reference": reference})
    after = report(network_of(trained), held, tokenizer)
    return {"held": len(held), "trained": len(examples), "before": before, "after": after}, trained


def split(pairs: Sequence[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    """Examples to train on and to compare with, by document; each question is put to a wrong passage too."""
    from models.training.examples import Example

    def apart(group: str) -> bool:
        return int(hashlib.sha256(group.encode()).hexdigest(), 16) % APART == 0

    def example(pair: dict[str, Any]) -> Example:
        span = (pair["start"], pair["end"])
        words = pair["passage"][span[0] : span[1]]
        return Example(
            pair["question"], pair["passage"], (span,), 1, 1, None, pair["document"], "approved", answers=(words,)
        )

    training = [p for p in pairs if not apart(p["document"])]
    examples = [example(p) for p in training]
    for n, pair in enumerate(training):
        other = next((q for q in training[n + 1 :] + training[:n] if q["document"] != pair["document"]), None)
        if other is not None:
            examples.append(
                Example(pair["question"], other["passage"], (), 0, 0, None, other["document"], "approved-other")
            )
    return examples, [example(p) for p in pairs if apart(p["document"])]


def _tell(facts: dict[str, Any]) -> None:
    sys.stderr.write(json.dumps(facts) + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
