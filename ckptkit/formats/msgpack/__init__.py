"""Trees of arrays as MessagePack, as Flax serialises them."""
