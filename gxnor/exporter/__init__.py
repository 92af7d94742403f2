"""From a trained PyTorch model to the integer program that computes the same: `export`. `check` says what would
become of a model, before it is trained.

The model is traced with torch.fx and its operations are walked in order, each value known as integers of the program
times a unit (1/2 for five states, 1/9 after an average over 3 x 3). What batch norm and biases do to it is kept aside
until an activation turns them into thresholds, or the output into the logits' scale.

folding: batch norm and activation as thresholds. ties: thresholds of sums where rounding decides. builder: the program so
far. tensors: what is known of the model's values. operations: what each module and function adds to the program. walk: runs
the traced model on the builder. compare: the program beside the model. supported: the table of what exports. unfolding: the
way back, from a program to a model.
"""

from gxnor.exporter.check import Check, check
from gxnor.exporter.walk import export

__all__ = ["Check", "check", "export"]
