"""Networks as ONNX: torch writes the conv layers, and what comes before and behind them is written here, node by node.

The only folder that imports onnx and onnxruntime. `builder` holds the nodes, `images` resizes and normalises, `trunk`
takes the conv layers from torch, `regions` pools, `boxes` corrects, `parts` puts whole networks together, `files`
writes and runs them.
"""
