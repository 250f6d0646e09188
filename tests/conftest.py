"""Settings of the whole suite."""

import torch

# the nets here are tiny: a second thread would spend more on waking up than on arithmetic
torch.set_num_threads(1)
