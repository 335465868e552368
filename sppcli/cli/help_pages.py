"""What ``--help`` shows of each command: its everyday options, and examples; and in which panel every other option is.

Data, not code. An option that is named nowhere is one of the method.
"""

from __future__ import annotations

PANELS = ("everyday", "method", "machine", "output")

MACHINE = (
    *("jobs", "device", "precision", "memory", "batch", "engine", "cache", "checkpoint", "repeat"),
    *("wait", "every-checkpoint", "shard", "cluster", "shards"),
)
OUTPUT = (
    *("output", "force", "overwrite", "dry-run", "json", "quiet", "verbose", "strict", "format", "plot", "all"),
    *("predictions", "top", "link", "log"),
)

EVERYDAY = {
    "init": ("preset", "backbone", "weights", "split-seed", "force"),
    "run": ("stages", "dry-run", "json"),
    "check": ("plot", "quick", "strict", "json", "jobs"),
    "propose": ("output", "method", "max-proposals", "import", "jobs", "dry-run", "force"),
    "extract": ("output", "scales", "backbone", "weights", "device", "dry-run", "force"),
    "finetune": ("output", "split", "iterations", "rate", "weights", "device", "force"),
    "train-svm": ("output", "split", "classes", "pyramid", "c", "seed", "force"),
    "train-bbox": ("output", "split", "pyramid", "ridge", "seed", "force"),
    "train-detector": ("output", "split", "validation", "epochs", "scale", "backbone", "weights", "force"),
    "calibrate": ("output", "at", "split", "folds", "network", "force"),
    "pack": ("output", "licence", "calibration", "bbox", "network", "model", "overwrite", "json"),
    "export": ("output", "format", "trunk", "scale", "backbone", "weights", "overwrite", "json"),
    "report": ("output", "split", "images", "iou", "title", "overwrite", "json"),
    "detect": ("output", "format", "network", "model", "min-score", "split", "video", "watch"),
    "evaluate": ("voc2007", "voc2010", "coco", "split", "proposals", "results", "json"),
    "train-net": ("output", "net", "sizes", "epochs", "init", "device", "seed", "force"),
    "classify": ("network", "views", "split", "predictions", "json"),
    "compare": ("last", "split", "protocol", "dataset", "json"),
    "show": ("output", "what", "images", "count", "worst", "only", "min-score", "split"),
    "features": ("output", "backbone", "weights", "layer", "side", "force"),
    "merge": ("output", "copy", "force", "json"),
    "cluster": ("workers", "host", "memory", "file"),
    "plan": ("images", "workers", "gpus", "sample", "scales", "weights", "json"),
    "probe": ("features", "protocol", "train", "test", "json"),
    "fetch": ("output", "json"),
    "convert": ("to", "link", "json"),
    "info": ("verify", "json"),
    "import-caffe": ("output", "prototxt", "mean", "classes", "overwrite"),
    "bench": ("only", "json"),
    "bench rcnn": ("net", "weights", "windows", "best", "repeat", "json"),
    "demo": ("scenes", "epochs", "seed"),
    "config": ("all", "json"),
    "tune": ("grid", "split", "validation", "folds", "seeds", "plot", "write", "json"),
    "clean": ("yes", "keep", "urls", "json"),
    "completion": (),
    "man": ("install", "roff", "overwrite"),
}
"""Command -> options in the first panel: seven or so; with help and -q the list stays within ten."""

EXAMPLES = {
    "init": (
        ("spp init photos/", "look at the data and propose"),
        ("spp init photos/ --preset fast", "a first detector, soon"),
    ),
    "run": (("spp run", "every stage that is out of date"), ("spp run --dry-run", "minutes, memory and disk first")),
    "check": (
        ("spp check VOCdevkit/VOC2007", "what is there, and what is wrong"),
        ("spp check photos/ --plot sizes.png", "counts and sizes as a picture"),
    ),
    "propose": (
        ("spp propose VOCdevkit/VOC2007", "Selective Search in every image"),
        ("spp propose photos/ --method selective-search --method edge-boxes --edges gradient", "both methods united"),
    ),
    "extract": (
        ("spp extract --scales 480,576,688,864,1200", "the five scales of the paper"),
        ("spp extract --backbone resnet18 --scales 480,688", "another network, faster"),
    ),
    "finetune": (
        ("spp finetune --iterations 2000", "a short schedule"),
        ("spp finetune --weights net.safetensors --validation val", "the best weights by val"),
    ),
    "train-svm": (
        ("spp train-svm --pyramid 3,2,1", "14 bins for each region instead of 50"),
        ("spp train-svm --classes car,person -o two.h5", "two classes only"),
    ),
    "train-bbox": (
        ("spp train-bbox", "on trainval"),
        ("spp train-bbox --split train --pyramid 3,2,1", "on train, with 14 bins"),
    ),
    "train-detector": (
        ("spp train-detector --backbone squeezenet1_0 --validation test", "mAP after each epoch"),
        ("spp train-detector --weights net.safetensors --epochs 12", "your own weights, longer"),
    ),
    "calibrate": (
        ("spp calibrate --at precision=0.95", "thresholds at which 95 % of the detections are right"),
        ("spp calibrate --network detector.safetensors --split val", "a network that was trained without val"),
        ("spp calibrate --network detector.safetensors --held-out 0.25", "one that was trained on everything"),
    ),
    "pack": (
        ("spp pack -o raccoon.spp --licence 'CC BY 4.0'", "the detector of this folder in one file"),
        ("spp pack --network detector.safetensors -o joint.spp", "a network of spp train-detector"),
    ),
    "export": (
        ("spp export detector.safetensors", "the network of spp train-detector -> detector.onnx"),
        ("spp export raccoon.spp -o raccoon.onnx", "SVMs and box regression as linear layers"),
        ("spp export --backbone resnet18 --scale 480", "the conv layers alone, up to the map"),
    ),
    "report": (
        ("spp report", "the test split -> report.html"),
        ("spp report --images 60 --title Raccoons", "more pictures, a heading of your own"),
    ),
    "detect": (
        ("spp detect", "the test split -> detections.h5"),
        ("spp detect photo.jpg -o found.png", "a new image with its boxes drawn; without -o JSON lines"),
        ("spp detect clip.mp4 --every 5 -o found.mp4", "a video with its boxes drawn"),
    ),
    "evaluate": (
        ("spp evaluate --voc2007", "11-point average precision"),
        ("spp evaluate VOCdevkit/VOC2007 --results results/", "files of another program"),
    ),
    "train-net": (
        ("spp train-net photos/ --net zf5 --sizes 180,224", "at two input sizes"),
        ("spp train-net photos/ --no-spp --sizes 224", "the baseline without the pyramid"),
    ),
    "classify": (
        ("spp classify photos/ --views multi", "98 views of each image"),
        ("spp classify photos/ --network a.safetensors --network b.safetensors", "two networks averaged"),
    ),
    "compare": (
        ("spp compare", "the last runs of runs.jsonl"),
        ("spp compare old.h5 new.h5 --split val", "detections files, evaluated for it"),
    ),
    "show": (
        ("spp show", "a contact sheet of detections beside the ground truth"),
        ("spp show --worst 12 -o worst.jpg", "the images with the most mistakes"),
        ("spp show photo.jpg --explain pyramid", "for teaching: how a region is pooled"),
        ("spp show proposals.h5 --images 000005,000007 -o pictures/", "two images, a picture each"),
    ),
    "features": (
        ("spp features flowers/ --backbone resnet50", "one vector for each image"),
        ("spp features flowers/ --side 600 --pyramid 3,2,1", "at 600 pixels, pooled to 14 bins"),
    ),
    "merge": (
        ("spp merge features.shard-*-of-8.h5", "features.h5, which leads to the maps in the shards"),
        ("spp merge features.shard-*-of-8.h5 --copy -o all.h5", "with the maps in it"),
    ),
    "cluster": (
        ("spp cluster local --workers 4", "four processes on this computer"),
        ("spp cluster ssh --host node1 --host node2", "on two computers"),
    ),
    "plan": (
        ("spp plan photos/ --images 450000 --workers 64", "measured on 24 of the photos"),
        ("spp plan photos/ --images 450000 --workers 64 --gpus 8", "networks on GPUs like the one here"),
    ),
    "probe": (
        ("spp probe", "accuracy on the test split"),
        ("spp probe --protocol caltech --rounds 5", "30 images of each class, drawn five times"),
    ),
    "fetch": (
        ("spp fetch voc2007", "downloaded, checked and unpacked"),
        ("spp fetch voc2012 -o data/", "into another folder"),
    ),
    "convert": (
        ("spp convert VOCdevkit/VOC2007 coco --to coco", "VOC to COCO"),
        ("spp convert coco yolo --to yolo --link", "with links in place of copies"),
    ),
    "info": (("spp info", "every file in this folder"), ("spp info svm.h5 --verify", "one, all its bytes checked")),
    "import-caffe": (
        ("spp import-caffe zf5.caffemodel --prototxt zf5.prototxt", "the release's network"),
        ("spp import-caffe net.caffemodel --prototxt net.prototxt -o net.safetensors", "under another name"),
    ),
    "bench": (("spp bench", "all parts"), ("spp bench --only conv,pool", "two of them")),
    "bench rcnn": (
        ("spp bench rcnn", "SPP-net against R-CNN"),
        ("spp bench rcnn photo.jpg --repeat 5", "on an image of yours"),
    ),
    "demo": (("spp demo", "in spp-demo/"), ("spp demo small --scenes 40 --epochs 4", "in a minute, less accurate")),
    "config": (("spp config", "what is set here, and where"), ("spp config extract --all", "all options of a command")),
    "tune": (
        ("spp tune", "pyramid, C and NMS, on val"),
        ("spp tune --grid 'c=0.01;0.1' --grid 'nms=0.3;0.4' --no-write", "two options, without writing spp.toml"),
        ("spp tune --split trainval --folds 5 --seeds 3 --plot tune.png", "by cross-validation, with what is chance"),
    ),
    "clean": (("spp clean", "what may go, and how much it is"), ("spp clean --yes --keep features", "remove the rest")),
    "completion": (
        ("spp completion bash >> ~/.bashrc", "complete commands and options"),
        ("spp completion fish > ~/.config/fish/completions/spp.fish", "in fish"),
    ),
    "man": (
        ("spp man propose", "show a page"),
        ("spp man --install ~/.local/share/man", "so that 'man spp-propose' shows it"),
    ),
}
"""Command -> (what to type, what it does); a test parses every one of them."""

GROUPS = {
    "From images to a detector": ("init", "run", "config"),
    "Its stages": (
        *("check", "propose", "extract", "finetune", "train-svm", "train-bbox", "train-detector", "calibrate"),
        *("detect", "evaluate", "tune"),
    ),
    "Look, compare, hand over": ("show", "report", "compare", "info", "pack", "export", "clean"),
    "More than one machine": ("merge", "cluster", "plan"),
    "Classification of whole images": ("train-net", "classify", "features", "probe"),
    "Data, weights and this machine": ("fetch", "convert", "import-caffe", "bench", "demo", "completion", "man"),
}
"""Heading -> commands, for ``spp --help``; commands named nowhere come last."""

WITHOUT_SETTINGS = ("init", "completion", "man")
"""Commands that read no spp.toml."""

EXIT_CODES = {
    0: "It is done.",
    1: "A bug of spp; its traceback is on standard error.",
    2: "An option or argument that does not exist, or that does not go with another.",
    3: "Something is missing or cannot be used: a file, an image, an annotation, memory or disk.",
    4: "Files that do not belong together, such as features of other region proposals.",
    130: "Interrupted by Ctrl-C; run it again to go on.",
    143: "Terminated; run it again to go on.",
}
"""Exit code -> what it means; of every command."""

ENVIRONMENT = {
    "NO_COLOR": ((), "If it is set to anything, nothing is coloured."),
    "XDG_CACHE_HOME": (
        ("--dry-run",),
        "Folder of the times that earlier runs took, from which --dry-run forecasts; ~/.cache if it is not set.",
    ),
    "TORCH_HOME": (("--weights",), "Folder of the weights that were downloaded; ~/.cache/torch if it is not set."),
}
"""Variable, besides those of options -> (options of the commands that it concerns, none for all; what it does)."""

ALIASES = {
    **dict.fromkeys(("predict", "infer", "inference", "test"), "detect"),
    **dict.fromkeys(("train", "fit"), "run' for every stage, or 'train-svm', 'train-bbox' and 'train-detector"),
    **dict.fromkeys(("eval", "score", "map", "val"), "evaluate"),
    **dict.fromkeys(("plot", "draw", "view", "visualize", "visualise"), "show"),
    **dict.fromkeys(("proposals", "selective-search", "search"), "propose"),
    **dict.fromkeys(("download", "get"), "fetch"),
    **dict.fromkeys(("new", "setup", "create"), "init"),
    **dict.fromkeys(("settings", "options"), "config"),
    **dict.fromkeys(("inspect", "describe", "ls"), "info"),
    **dict.fromkeys(("validate", "lint", "stats"), "check"),
    **dict.fromkeys(("benchmark", "time"), "bench"),
    **dict.fromkeys(("rm", "prune", "gc", "clear"), "clean"),
    "version": "--version",
    "help": "--help",
}
"""What other programs call it -> the command here."""
