"""Uses an exported network where PyTorch is not installed: NumPy, the native engine, and nothing else.

python examples/deploy.py NETWORK.gxnor IMAGE_OR_ARRAY ...
"""

import sys
import time

import numpy as np

import gxnor

if len(sys.argv) < 2:
    sys.exit(__doc__)
network = gxnor.load(sys.argv[1], threads=2)
print(f"{sys.argv[1]}: {network.input_shape} to {len(network.classes)} classes, engine: {network.engine}")

# Arrays: uint8 pixels, or floats in [0, 1]; one sample or a batch.
batch = np.random.default_rng(0).integers(256, size=(64, *network.input_shape), dtype=np.uint8)
network.predict(batch)  # the first call warms the caches
start = time.perf_counter()
network.predict(batch)
print(f"{1e6 * (time.perf_counter() - start) / len(batch):.1f} us per sample at batch {len(batch)}")

# Files: anything Pillow opens, folders of images, and .npy arrays.
for answer in network.classify(sys.argv[2:]):
    print(f"{answer.input}: {answer.label} (logit {answer.logits[answer.index]:.3f})")
