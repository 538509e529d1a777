"""TensorRT Edge-LLM: its engines are built on the board, told apart by a manifest, and served."""
