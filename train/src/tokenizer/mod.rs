//! Tokenizers from a Hugging Face folder, from GGUF, or trained on the spot.
