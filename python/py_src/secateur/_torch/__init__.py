"""Implementation of `secateur.torch`; its modules import torch, the public module does not until it is called."""
