"""unknown_operator.pt: a TorchScript file with an operator that no libtorch has, as a newer PyTorch writes one for an older libtorch."""
import io
import zipfile
from pathlib import Path

import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)

    def forward(self, x):
        return torch.celu(self.fc(x.mean((2, 3))))


def main():
    torch.manual_seed(0)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Net().eval()), buffer)
    with zipfile.ZipFile(buffer) as made, zipfile.ZipFile(Path(__file__).parent / "unknown_operator.pt", "w") as out:
        for entry in made.infolist():
            if entry.filename.endswith(".debug_pkl"):
                continue
            info = zipfile.ZipInfo(entry.filename)  # a fixed date
            out.writestr(info, made.read(entry).replace(b"torch.celu(", b"torch.of_later("))


if __name__ == "__main__":
    main()
