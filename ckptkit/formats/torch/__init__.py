"""Files of `torch.save`: a zip archive since PyTorch 1.6, a stream of pickles before, a tar archive before 0.2.

No pickle is ever run. `pickles` decodes the stream into plain nodes (a call is a name and its arguments), `rebuild` knows
which names mean a tensor, a dictionary or a plain value, and everything else is a name that is shown.
"""
