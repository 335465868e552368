"""How long torch's threads wait for each other before they give up their CPU: ``python -m tests.benchmarks.waiting``.

SqueezeNet's conv layers over an image of 640 x 480, alone and beside a process that keeps one CPU busy, with the
waiting that `sppcli.cli.main` asks for and with that of GNU's OpenMP, in turn.
"""

from __future__ import annotations

import os
import subprocess
import sys

OURS, GNU = "10000", "300000"
ROUNDS = 3
MEASURE = """
import time
import torch
from torchvision.models import squeezenet1_0
net = squeezenet1_0().features.eval().to(memory_format=torch.channels_last)
image = torch.rand(1, 3, 480, 640).to(memory_format=torch.channels_last)
seconds = []
with torch.inference_mode():
    for _ in range(22):
        start = time.perf_counter()
        net(image)
        seconds.append(time.perf_counter() - start)
seconds = sorted(seconds[2:])
print(f"{1000 * seconds[0]:8.1f} {1000 * seconds[len(seconds) // 2]:8.1f}")
"""


def main() -> None:
    print(f"{'':>16} {'spin count':>10} {'least ms':>8} {'median':>8}")
    for name in ("alone", "beside another"):
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if name != "alone" else None
        try:
            for _ in range(ROUNDS):
                for count in (GNU, OURS):
                    environment = {**os.environ, "GOMP_SPINCOUNT": count}
                    found = subprocess.run(
                        [sys.executable, "-c", MEASURE], env=environment, capture_output=True, text=True, check=True
                    )
                    print(f"{name:>16} {count:>10} {found.stdout.rstrip()}", flush=True)
        finally:
            if other:
                other.kill()


if __name__ == "__main__":
    main()
