"""Writes an image as the array of bytes that a network reads: python image.py seven.png > image.h"""

import sys

import numpy as np
from PIL import Image


def main(path: str, size: tuple[int, int] = (28, 28)) -> None:
    """Gray, white on black as MNIST is, of the size that the network has."""
    pixels = np.asarray(Image.open(path).convert("L").resize(size))
    numbers = [str(value) for value in pixels.reshape(-1)]
    print(f"static const uint8_t image[{len(numbers)}] = {{")
    for start in range(0, len(numbers), 28):
        print(f"    {', '.join(numbers[start : start + 28])},")
    print("};")


if __name__ == "__main__":
    main(sys.argv[1])
