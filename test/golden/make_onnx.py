"""ONNX files made by PyTorch, and what PyTorch makes of the same pictures: test/golden/onnx/*.onnx and test/golden/onnx.json.

Made once with torch 2.13.0+cpu and onnx 1.23.1: python3 test/golden/make_onnx.py
Pictures are bytes [6, 16, 16, 3] in RGB: byte k is (97 k + k // 7) % 256.
"""
import json
import os

import torch
from torch import nn

COUNT, SIDE, DIM = 6, 16, 8
here = os.path.dirname(os.path.abspath(__file__))


class Network(nn.Module):
    """A small convolutional network with two outputs."""

    def __init__(self, layout, second):
        super().__init__()
        self.layout, self.second = layout, second
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        )
        self.embed = nn.Linear(16 * 4 * 4, DIM)
        self.classify = nn.Linear(DIM, 5)

    def forward(self, images):
        x = images.permute(0, 3, 1, 2) if self.layout == "NHWC" else images
        maps = self.trunk(x)
        embeddings = self.embed(maps.flatten(1))
        return (maps, embeddings) if self.second == "maps" else (embeddings, self.classify(embeddings))


forms = {
    "rgb_nchw": {
        "layout": "NCHW", "channels": "RGB", "second": "maps", "batch": None,
        "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375],
    },
    "bgr_nhwc": {
        "layout": "NHWC", "channels": "BGR", "second": "logits", "batch": 4,
        "mean": [104.0, 117.0, 123.0], "std": [57.0, 58.0, 59.0],
    },
}

# Computes in float16, with pixels and embeddings of it
forms["half_nchw"] = {**forms["rgb_nchw"], "half": True, "mean": [127.5] * 3, "std": [127.5] * 3}

k = torch.arange(COUNT * SIDE * SIDE * 3)
pictures = ((97 * k + k // 7) % 256).reshape(COUNT, SIDE, SIDE, 3).float()
torch.manual_seed(7)
result = {"count": COUNT, "side": SIDE, "dim": DIM, "files": []}
for name, form in forms.items():
    network = Network(form["layout"], form["second"])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    network.eval()
    x = pictures.flip(3) if form["channels"] == "BGR" else pictures
    x = (x - torch.tensor(form["mean"])) / torch.tensor(form["std"])
    x = x if form["layout"] == "NHWC" else x.permute(0, 3, 1, 2).contiguous()
    if form.get("half"):
        network, x = network.half(), x.half()
    outputs = ["maps", "embedding"] if form["second"] == "maps" else ["embedding", "logits"]
    torch.onnx.export(
        network, (x[: form["batch"] or 2],), os.path.join(here, "onnx", f"{name}.onnx"),
        input_names=["pixels"], output_names=outputs, opset_version=17, dynamo=False,
        dynamic_axes=None if form["batch"] else {"pixels": {0: "batch"}, "maps": {0: "batch"}, "embedding": {0: "batch"}},
    )
    with torch.no_grad():
        embeddings = network(x)[outputs.index("embedding")]
    result["files"].append({"file": f"{name}.onnx", **form, "embeddings": embeddings.float().flatten().tolist()})
with open(os.path.join(here, "onnx.json"), "w") as file:
    json.dump(result, file)
    file.write("\n")
