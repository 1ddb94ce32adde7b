"""Figures and proofs: what the project is compared with, and what it must survive. Run from the checkout's root."""
