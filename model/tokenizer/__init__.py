"""Texts to token ids, as graph pieces: normalisation, word pieces, cutting and packing."""
