"""Builds the native kernels: a plain shared library with a C interface, opened by `gxnor/native.py` through ctypes.

The build is optional: without a compiler the package installs and runs on the NumPy and PyTorch references.
"""

from glob import glob

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "gxnor._native",
            sources=sorted(glob("native/**/*.cpp", recursive=True)),
            depends=sorted(glob("native/**/*.h", recursive=True)),
            include_dirs=["native"],
            language="c++",
            # No contraction: a fused multiply-add would round differently from the reference.
            extra_compile_args=["-std=c++17", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
