"""Embedding in PyTorch, for `npm run bench -- extract`: the same networks, weights and images as ours.

Usage: extract.py MODE WORKLOAD, where MODE is
  eager      inference_mode, as its tutorials write it
  tuned      the same with channels-last weights and images
  compiled   torch.compile with freezing, channels-last
  bf16       tuned, under autocast to bfloat16
The workload's device and precision, if it has any, are those of the mode's.
and WORKLOAD the JSON of bench/extract.ts. Warms up, prints cosines of some embeddings, then answers `run N` on standard input.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path

import torch

MODES = ["eager", "tuned", "compiled", "bf16"]


def networks_and_weights():
    path = Path(__file__).parents[2] / "test/golden/make_state_dicts.py"
    spec = importlib.util.spec_from_file_location("networks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    mode, work = sys.argv[1], json.loads(sys.argv[2])
    if mode not in MODES:
        sys.exit(f"wanted a mode of {', '.join(MODES)}, got {mode}")
    side, batch, device = work["side"], work["batch"], work.get("device", "cpu")
    precision = work.get("precision", "bf16" if mode == "bf16" else "float32")
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    golden = networks_and_weights()
    torch.set_num_threads(work["threads"])  # golden numbers are made by one
    net = golden.NETWORKS[work["network"]](work["dim"], side, 1.0).eval()
    with torch.no_grad():
        golden.fill_state(net)
    count = batch * side * side * 3
    images = (97 * torch.arange(count) + torch.arange(count) // 1009 * 31).to(torch.uint8).reshape(batch, side, side, 3)
    net.to(device)
    if mode == "compiled":
        from torch._inductor import config

        config.freezing = True
    if mode != "eager":
        net = net.to(memory_format=torch.channels_last)
    if mode == "compiled":
        net = torch.compile(net)
    if device != "cpu":
        images = images.pin_memory()

    def embed():
        with torch.inference_mode(), torch.autocast(device, half, enabled=half is not None):
            x = images.to(device, non_blocking=True).permute(0, 3, 1, 2).float()
            x = (x - 127.5) / 127.5
            x = x.contiguous() if mode == "eager" else x.contiguous(memory_format=torch.channels_last)
            return net(x).float().cpu().numpy()

    rows = [embed() for _ in range(work["warmup"])][-1]
    unit = torch.nn.functional.normalize(torch.from_numpy(rows))
    cosines = [float(unit[0] @ unit[i]) for i in range(1, 4)]
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "losses": cosines}), flush=True)
    for line in sys.stdin:
        steps, start = int(line.split()[1]), time.perf_counter()
        for _ in range(steps):
            embed()
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)


main()
