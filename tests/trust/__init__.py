"""The tree, its proofs and the signed formats, held against references that are not ours."""
