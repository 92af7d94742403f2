"""From a trained PyTorch model to the integer program that computes the same: `to_program`.

The model is traced with torch.fx and its operations are walked in order, each value known as integers of the program
times a unit (1/2 for five states, 1/9 behind an average over 3 x 3). What batch norm and biases do to it is kept aside
until an activation turns them into thresholds, or the output into the logits' scale.

folding: batch norm and activation as thresholds. builder: the program so far, and what is known of the model's values.
operations: what each module and function adds to it. walk: runs the traced model on the builder.
"""

from gxnor.exporter.walk import to_program

__all__ = ["to_program"]
