"""What computes token rows: TensorFlow and OpenVINO behind one protocol, and which of them a job takes."""
