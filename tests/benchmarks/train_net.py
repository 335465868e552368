"""Images a second of training from files, against forward, backward and step of the bare network, in turns in one run.

Run by hand: python -m tests.benchmarks.train_net FOLDER [NET] [SIZE] [BATCH] [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn

from sppcli.datasets.imagefolder import open_labelled, splits_of
from sppcli.learn.loading import ImageFiles
from sppcli.learn.multisize import train
from sppcli.learn.schedule import TrainingConfig
from sppcli.nets.architectures import architecture
from sppcli.nets.classifier import Architecture, SppClassifier


def bare(design: Architecture, size: int, batch: int, steps: int) -> float:
    """Images a second on one batch that is there already."""
    model = SppClassifier(design).train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    inputs = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    target = torch.randint(0, len(design.classes), (batch,))
    began = 0.0
    for step in range(steps + 1):
        if step == 1:  # the first one finds its algorithms
            began = time.monotonic()
        loss = nn.functional.cross_entropy(model(inputs), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return steps * batch / (time.monotonic() - began)


def main(folder: str, net: str = "tiny", size: int = 32, batch: int = 64, rounds: int = 3) -> None:
    root = Path(folder)
    images = open_labelled(root, "train" if splits_of(root) else None)
    design = architecture(net, images.classes, side=size)
    config = TrainingConfig(sizes=(size,), epochs=2, batch=batch, schedule="steps")
    figures: dict[str, list[float]] = {"bare": [], "first epoch": [], "second epoch": [], "waited": []}
    for _ in range(rounds):
        figures["bare"].append(bare(design, size, batch, max(2, len(images) // batch)))
        samples = ImageFiles(images.paths, images.labels, round(size * 256 / 224))
        _, (first, second) = train(design, samples, config)
        figures["first epoch"].append(len(images) / first.seconds)
        figures["second epoch"].append(len(images) / second.seconds)
        figures["waited"].append(second.waited / second.seconds)
    middle = {name: statistics.median(values) for name, values in figures.items()}
    print(f"{net}, {size} pixels, batches of {batch}, {len(images)} images, {torch.get_num_threads()} threads")
    print(f"bare network             {middle['bare']:8.1f} images/s")
    for name, what in (("first epoch", "decoded from files"), ("second epoch", "kept in memory")):
        share = middle[name] / middle["bare"]
        print(f"training, {what:<18} {middle[name]:5.1f} images/s   {share:.2f} of the bare network")
    print(f"second epoch: {100 * middle['waited']:.1f} % of its time without images")


if __name__ == "__main__":
    main(sys.argv[1], *sys.argv[2:3], *(int(value) for value in sys.argv[3:]))
