"""The nouns of nightcrew as documents and pure functions: no input or output, nothing of ours imported."""
