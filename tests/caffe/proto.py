"""Caffe's messages for tests, as the protobuf package knows them: a descriptor written from BVLC's caffe.proto.

`sppcli.caffe.caffemodel` has its own reader of the wire format, so what tests feed it is written by another hand.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = descriptor_pb2.FieldDescriptorProto

# message -> (name, number, type, r(epeated) and p(acked)); a type that is a message's name is that message.
_MESSAGES: dict[str, tuple[tuple[str, int, str, str], ...]] = {
    "BlobShape": (("dim", 1, "int64", "rp"),),
    "BlobProto": (
        ("num", 1, "int32", ""),
        ("channels", 2, "int32", ""),
        ("height", 3, "int32", ""),
        ("width", 4, "int32", ""),
        ("data", 5, "float", "rp"),
        ("diff", 6, "float", "rp"),
        ("shape", 7, "BlobShape", ""),
        ("double_data", 8, "double", "rp"),
    ),
    # The same field numbers, written one key a number, as the format also allows.
    "LooseBlobProto": (("num", 1, "int32", ""), ("data", 5, "float", "r"), ("shape", 7, "LooseShape", "")),
    "LooseShape": (("dim", 1, "int64", "r"),),
    "ConvolutionParameter": (("num_output", 1, "uint32", ""), ("kernel_size", 4, "uint32", "r")),
    "LayerParameter": (
        ("name", 1, "string", ""),
        ("type", 2, "string", ""),
        ("bottom", 3, "string", "r"),
        ("top", 4, "string", "r"),
        ("loss_weight", 5, "float", "r"),
        ("blobs", 7, "BlobProto", "r"),
        ("convolution_param", 106, "ConvolutionParameter", ""),
    ),
    "V0LayerParameter": (
        ("name", 1, "string", ""),
        ("type", 2, "string", ""),
        ("num_output", 3, "uint32", ""),
        ("blobs", 50, "BlobProto", "r"),
        ("blobs_lr", 51, "float", "r"),
    ),
    "V1LayerParameter": (
        ("layer", 1, "V0LayerParameter", ""),
        ("bottom", 2, "string", "r"),
        ("top", 3, "string", "r"),
        ("name", 4, "string", ""),
        ("type", 5, "int32", ""),
        ("blobs", 6, "BlobProto", "r"),
        ("blobs_lr", 7, "float", "r"),
        ("weight_decay", 8, "float", "r"),
        ("convolution_param", 10, "ConvolutionParameter", ""),
    ),
    "NetParameter": (
        ("name", 1, "string", ""),
        ("layers", 2, "V1LayerParameter", "r"),
        ("input", 3, "string", "r"),
        ("input_dim", 4, "int32", "r"),
        ("layer", 100, "LayerParameter", "r"),
    ),
}


def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind, how in fields:
            field = message.field.add(name=field_name, number=number)
            field.label = _TYPES.LABEL_REPEATED if "r" in how else _TYPES.LABEL_OPTIONAL
            if kind in _MESSAGES:
                field.type, field.type_name = _TYPES.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                field.type = getattr(_TYPES, f"TYPE_{kind.upper()}")
            if "p" in how:
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_POOL = _pool()


def message(kind: str, /, **values: Any) -> Any:
    """A message of Caffe's, filled."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"caffe.{kind}"))(**values)


# Of V1LayerParameter.
V1_TYPES = {"Convolution": 4, "Dropout": 6, "InnerProduct": 14, "LRN": 15, "Pooling": 17, "ReLU": 18, "Softmax": 20}


def blob(values: Any, legacy: bool = False, double: bool = False) -> Any:
    """A numpy array as BlobProto: with the four lengths of old (a bias is 1 x 1 x 1 x n) or with a shape."""
    made = message("BlobProto")
    if legacy:
        made.num, made.channels, made.height, made.width = (1,) * (4 - values.ndim) + values.shape
    else:
        made.shape.dim.extend(values.shape)
    (made.double_data if double else made.data).extend(values.ravel().tolist())
    return made


def caffemodel(layers: dict[str, tuple[str, list[Any]]], form: str = "new", double: bool = False) -> bytes:
    """The bytes of a .caffemodel.

    Args:
        layers: name -> (type as in ``layer``, arrays).
        form: ``new`` (LayerParameter, BlobShape), ``v1`` or ``v0`` (both with legacy blobs).
        double: numbers as double_data.
    """
    net = message("NetParameter", name="test")
    for name, (kind, arrays) in layers.items():
        blobs = [blob(values, form != "new", double) for values in arrays]
        if form == "new":
            net.layer.add(name=name, type=kind, blobs=blobs, bottom=["a"], top=["b"], loss_weight=[0.5])
        elif form == "v1":
            net.layers.add(name=name, type=V1_TYPES[kind], blobs=blobs, blobs_lr=[1, 2], weight_decay=[1, 0])
        else:
            inner = message("V0LayerParameter", name=name, type=kind.lower(), blobs=blobs, blobs_lr=[1, 2])
            net.layers.add(layer=inner, bottom=["a"], top=["b"])
    return bytes(net.SerializeToString())
