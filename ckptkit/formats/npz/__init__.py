"""npz: a zip archive of `.npy` arrays. Nothing in it is ever unpickled.

What NumPy has no dtype for (bfloat16, the float8s, quantised types) is written as raw items (`|V2`), which
`np.load(...)[key].view(ml_dtypes.bfloat16)` turns back; the canonical dtype stands in the member's comment, where
NumPy does not look and this reader does.
"""
