"""Train the example network on Fashion-MNIST and write it as ONNX.

    python train.py --data FOLDER [--epochs 24] [--seed 0] [--out fashion_mnist.onnx]

Needs torch beside edgecc's own dependencies. FOLDER is described in data.py.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from data import default_folder, load
from network import Network, to_onnx
from torch import Tensor, nn

BATCH = 128
PEAK_RATE = 0.1
SHIFT = 2  # pixels, each way


def main() -> None:
    """Train, report the test accuracy of each epoch, export and check the export."""
    options = _options()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    images, labels = _tensors(options.data, "train")
    test_images, test_labels = _tensors(options.data, "test")
    network = Network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = _optimiser(network)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        PEAK_RATE,
        epochs=options.epochs,
        steps_per_epoch=len(images) // BATCH,
        pct_start=0.15,
        anneal_strategy="cos",
    )
    start = time.monotonic()
    for epoch in range(1, options.epochs + 1):
        loss = train_epoch(network, optimiser, schedule, images, labels)
        accuracy = torch_accuracy(network, test_images, test_labels)
        minutes = (time.monotonic() - start) / 60
        figures = f"loss {loss:.4f}  test {accuracy:.2%}  {minutes:.1f} min"
        print(f"epoch {epoch:2}  {figures}", flush=True)
    onnx.save(to_onnx(network), options.out)
    difference, accuracy = check_export(options.out, network, test_images, test_labels)
    print(f"{options.out}: test {accuracy:.2%} in onnxruntime, {difference:.1e} from torch")


def train_epoch(
    network: Network,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    images: Tensor,
    labels: Tensor,
) -> float:
    """Run one epoch in bfloat16 with float32 weights; return the mean loss."""
    network.train()
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    total = 0.0
    order = torch.randperm(len(images))[: len(images) // BATCH * BATCH]
    batches = torch.split(order, BATCH)
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(augment(images[batch]))
        loss = criterion(logits.float(), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        total += loss.item()
    return total / len(batches)


def augment(images: Tensor) -> Tensor:
    """Shift each image by up to SHIFT pixels each way and mirror half of them."""
    count, _, height, width = images.shape
    padded = nn.functional.pad(images, (SHIFT, SHIFT, SHIFT, SHIFT))
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, count, 1))
    rows = torch.arange(height) + down  # (N, H)
    across = torch.arange(width).expand(count, width)
    columns = torch.where(torch.rand(count, 1) < 0.5, across, width - 1 - across) + right
    picked = padded[torch.arange(count)[:, None, None], 0, rows[:, :, None], columns[:, None, :]]
    return picked.unsqueeze(1)


def torch_accuracy(network: Network, images: Tensor, labels: Tensor) -> float:
    """Return the share of `images` whose greatest logit is their label's."""
    return float((_logits(network, images).argmax(1) == labels).float().mean())


def check_export(
    path: Path, network: Network, images: Tensor, labels: Tensor
) -> tuple[float, float]:
    """Return the greatest difference of a logit from torch's, and onnxruntime's accuracy.

    Raises SystemExit where a logit differs by more than 1e-4.
    """
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = np.concatenate(
        [session.run(["logits"], {"image": part.numpy()})[0] for part in torch.split(images, 500)]
    )
    difference = float(np.abs(logits - _logits(network, images).numpy()).max())
    if difference > 1e-4:
        raise SystemExit(f"{path}: a logit is {difference:.1e} away from torch's, 1e-4 allowed")
    return difference, float((logits.argmax(1) == labels.numpy()).mean())


@torch.inference_mode()
def _logits(network: Network, images: Tensor) -> Tensor:
    network.eval()
    return torch.cat([network(part) for part in torch.split(images, 500)])


def _optimiser(network: Network) -> torch.optim.Optimizer:
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]  # biases and BatchNorm
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=PEAK_RATE, momentum=0.9, nesterov=True)


def _tensors(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    x, y = load(folder, "train" if part == "train" else "test")
    images = torch.from_numpy(x.astype(np.float32) / 255).unsqueeze(1)  # (N, 1, 28, 28)
    return images, torch.from_numpy(y.astype(np.int64))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the Fashion-MNIST example network.")
    found = default_folder()
    parser.add_argument("--data", type=Path, default=found, required=found is None)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("fashion_mnist.onnx"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
