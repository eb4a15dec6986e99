"""Go on training a reader with an organisation's approved answers. The product runs it as a process of its own.

Reads pairs as JSON lines from standard input, so that their words are never on a disk in the clear, and writes the new
artefact to `--out`. Every fourth document is held apart; the last line on standard output says how the current and the
new reader do on these. Whether the new one is used is for the caller to decide.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
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
    parser.add_argument("--artefact", type=Path, required=True, help="folder of the reader to go on from")
    parser.add_argument("--base", type=Path, required=True, help="folder of the embedder that it is a difference to")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args(arguments)
    airgap.prepare_environment()
    pairs = [json.loads(line) for line in sys.stdin if line.strip()]
    sys.stdout.write(json.dumps(learn(pairs, asked.artefact, asked.base, asked.out)) + "\n")


def learn(pairs: Sequence[dict[str, Any]], artefact: Path, base: Path, out: Path) -> dict[str, Any]:
    """Train on most documents and compare on the others; the artefact lies in `out` afterwards."""
    import torch

    from models.pairs import PairTokenizer
    from models.reader_network import load_base
    from models.reader_weights import about, merged
    from models.training.examples import rows
    from models.training.export import export
    from models.training.measure import report
    from models.training.train import Recipe, train

    examples, held = split(pairs)
    tokenizer = PairTokenizer(base / "tokenizer.json")

    def network_of(folder: Path) -> Any:
        network = load_base(base)
        tensors = merged(folder, base / "model.safetensors")
        network.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        return network

    network, told = network_of(artefact), about(artefact)
    before = report(network, held, tokenizer)
    recipe = Recipe(rate=RATE, seed=len(pairs))
    with tempfile.TemporaryDirectory(dir=out) as checkpoints:
        epochs = [rows(examples, tokenizer)] * EPOCHS
        network = train(network, epochs, recipe, Path(checkpoints), tell=_tell)
    export(
        network,
        base,
        out,
        base_id=told["base"],
        name=f"{told['name'].partition('+')[0]}+{len(examples)}",
        licence=told["licence"],
        calibration=told["calibration"],
        recipe={"from": told["fingerprint"], "examples": len(examples)},
    )
    return {
        "held": len(held),
        "trained": len(examples),
        "before": before,
        "after": report(network_of(out), held, tokenizer),
    }


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
