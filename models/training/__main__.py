"""Train the reader: `python -m models.training DATA --out FOLDER`. What `make train-reader` runs.

Goes on where a killed run stopped when given the same folder. Writes `reader/reader.safetensors` (the artefact),
`scores.json` and `curves.svg` below the output folder. Two processes of one thread each share the work on a CPU; with a
GPU that torch can use (CUDA, ROCm, Metal, XPU), one process uses it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from strongroom import airgap


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, prepare the data once, run the workers."""
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with squad2/, training/, pubmedqa/")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, scores and the artefact")
    parser.add_argument("--without", choices=["share-alike"], help="leave out the sets whose licence is share-alike")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--no-synthetic", action="store_true", help="leave out the first stage")
    parser.add_argument("--start", type=Path, help="go on from this reader's folder; leaves out the first stage")
    parser.add_argument("--rate", type=float, help="learning rate at the top")
    parser.add_argument("--average", type=Path, nargs="+", help="train nothing: average the readers of these folders")
    parser.add_argument("--write-with", type=Path, metavar="GGUF", help="a language model that writes more questions")
    parser.add_argument("--texts", type=Path, help="folder of text files that it writes questions about, too")
    parser.add_argument("--first", type=Path, help="the first stage of the run in this folder instead of one's own")
    parser.add_argument("--lora", type=int, default=0, metavar="RANK", help="learn low-rank changes only")
    parser.add_argument(
        "--mixture", type=Path, help="the examples of an earlier run (its mixture.json) instead of DATA's"
    )
    parser.add_argument(
        "--share",
        nargs="+",
        default=[],
        metavar="SOURCE=SHARE",
        help="of each epoch keep this share of a source's examples, as in: cuad=0.5 cuad-no=0.5 support=0",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, ...; default: a GPU when torch can use one")
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("--base", default="all-minilm-l6-v2", help="an installed embedder")
    parser.add_argument("--trial", action="store_true", help="a few dozen examples: proves that everything runs")
    asked = parser.parse_args(arguments)
    airgap.prepare_environment()
    asked.out.mkdir(parents=True, exist_ok=True)
    _prepare(asked)
    from models.training.train import device_of

    workers = 1 if device_of(asked.device).type != "cpu" or asked.trial else asked.workers
    if asked.average:
        pass
    elif workers > 1:
        import torch.multiprocessing as processes

        processes.spawn(_work, args=(workers, asked), nprocs=workers)
    else:
        _work(0, workers, asked)
    _finish(asked)


def _prepare(asked: argparse.Namespace) -> None:
    """Read and mix the data, unless an earlier run in this folder did."""
    from models.defaults import open_embedder
    from models.training.data import SHARE_ALIKE
    from models.training.examples import Example
    from models.training.mixture import TRIAL, Amounts, Mixture, Write, free_of, mixture, thinned

    path = asked.out / "mixture.json"
    if path.exists():
        return
    shares = {source: float(share) for source, _, share in (each.partition("=") for each in asked.share)}
    without = SHARE_ALIKE if asked.without else frozenset()
    if asked.mixture:
        mixed = free_of(Mixture.load(asked.mixture), without)
        thinned(mixed, shares, epochs=asked.epochs, seed=asked.seed).save(path)
        return
    amounts = TRIAL if asked.trial else Amounts(epochs=asked.epochs)

    def writer(people: list[Example]) -> Write:
        from models.training.question_writer import QuestionWriter, written
        from models.training.train import device_of

        rng = random.Random(asked.seed)
        model = QuestionWriter.opened(asked.write_with, device_of(asked.device))
        model.teach(people, rng)
        return lambda passages, each: written(passages, each, model, rng)

    embedder = open_embedder(_models_dir(asked), asked.base)
    mixed = mixture(
        asked.data,
        embedder.embed_documents,
        without=without,
        seed=asked.seed,
        amounts=amounts,
        tell=print,
        write=writer if asked.write_with else None,
        more=asked.texts,
    )
    thinned(mixed, shares, epochs=asked.epochs, seed=asked.seed).save(path)


def _work(rank: int, workers: int, asked: argparse.Namespace) -> None:
    """One process of the training: both stages."""
    import torch

    from models.pairs import PairTokenizer
    from models.reader_network import load_base
    from models.training.examples import rows
    from models.training.lora import adapt
    from models.training.mixture import Mixture
    from models.training.train import device_of, train

    torch.set_num_threads(1 if workers > 1 else torch.get_num_threads())
    if workers > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store = torch.distributed.FileStore(str(asked.out / f"meeting-{os.getppid()}"), workers)
        torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=workers)
    base = _base(asked)
    mixed = Mixture.load(asked.out / "mixture.json")
    tokenizer = PairTokenizer(base / "tokenizer.json")
    torch.manual_seed(asked.seed)
    network = _reader(base, asked.start) if asked.start else load_base(base)
    network.to(device_of(asked.device))
    if asked.lora:
        adapt(network, asked.lora)
    recipe = _recipe(asked)
    stages = [("first", mixed.first), ("second", mixed.second)]
    if asked.first:
        held = torch.load(asked.first / "first/checkpoint.pt", weights_only=True, map_location="cpu")
        network.load_state_dict(held["network"], strict=False)
    if asked.no_synthetic or asked.start or asked.first:
        del stages[0]
    for name, epochs in stages:
        folder = asked.out / name

        def tell(facts: dict[str, Any], stage: str = name) -> None:
            line = {"stage": stage, "at": round(time.time(), 1)} | facts
            with (asked.out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)

        network = train(
            network,
            [rows(epoch, tokenizer) for epoch in epochs],
            recipe,
            folder,
            tell=tell,
            rank=rank,
            workers=workers,
        )
    if workers > 1:
        torch.distributed.destroy_process_group()


def _finish(asked: argparse.Namespace) -> None:
    """Calibrate, write the artefact, measure it and draw the curves."""
    import torch

    from models.pairs import PairTokenizer
    from models.reader_network import load_base
    from models.reader_weights import about
    from models.training.curves import draw
    from models.training.export import export
    from models.training.lora import adapt, merge
    from models.training.measure import calibrate, report
    from models.training.mixture import Mixture
    from models.training.train import device_of

    device = device_of(asked.device)
    base = _base(asked)
    mixed = Mixture.load(asked.out / "mixture.json")
    tokenizer = PairTokenizer(base / "tokenizer.json")
    if asked.average:
        readers = [_reader(base, folder) for folder in asked.average]
        network, states = readers[0], [reader.state_dict() for reader in readers]
        network.load_state_dict({k: torch.stack([s[k] for s in states]).mean(0) for k in states[0]})
    else:
        network = adapt(load_base(base), asked.lora) if asked.lora else load_base(base)
        held = torch.load(asked.out / "second/checkpoint.pt", weights_only=True, map_location="cpu")
        network.load_state_dict(held["network"], strict=False)
        network = merge(network) if asked.lora else network
    network.to(device)
    calibration = calibrate(network, mixed, tokenizer)
    recipe = asdict(_recipe(asked)) | {
        "without": asked.without or "",
        "epochs": len(mixed.second),
        "synthetic": not (asked.no_synthetic or asked.start),
        "written_by": asked.write_with.name if asked.write_with else "",
        "from": [about(folder)["fingerprint"] for folder in asked.average or [asked.start] if folder],
    }
    export(
        network,
        base,
        asked.out / "reader",
        base_id=asked.base,
        name="strongroom-reader-3",
        licence="CC-BY-4.0" if asked.without else "CC-BY-SA-4.0",
        calibration=calibration,
        recipe=recipe,
    )
    shipped = _reader(base, asked.out / "reader").to(device)
    scores = {
        "calibration articles": report(shipped, mixed.dev, tokenizer),
        "before packing": report(network, mixed.test, tokenizer),
        "artefact": report(shipped, mixed.test, tokenizer),
    }
    (asked.out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    if not asked.average:
        draw(asked.out / "log.jsonl", asked.out / "curves.svg")
    print(json.dumps(scores))


def _recipe(asked: argparse.Namespace) -> Any:
    from models.training.train import Recipe

    recipe = Recipe(seed=asked.seed, lora=asked.lora)
    return replace(recipe, rate=asked.rate) if asked.rate else recipe


def _reader(base: Path, folder: Path) -> Any:
    """The network with the weights of a packed reader."""
    import torch

    from models.reader_network import load_base
    from models.reader_weights import merged

    network = load_base(base)
    held = merged(folder, base / "model.safetensors")
    network.load_state_dict({name: torch.from_numpy(value) for name, value in held.items()})
    return network


def _models_dir(asked: argparse.Namespace) -> Path:
    from strongroom.config import load

    return Path(asked.models_dir or load().settings.models_dir)


def _base(asked: argparse.Namespace) -> Path:
    from models.defaults import embedder_spec

    return embedder_spec(_models_dir(asked), asked.base).directory


if __name__ == "__main__":
    main()
