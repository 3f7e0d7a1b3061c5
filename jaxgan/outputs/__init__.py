"""What is made from a finished run: samples, interpolations, inversions, exports, reports."""
