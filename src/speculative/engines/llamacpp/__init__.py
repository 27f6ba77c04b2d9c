"""llama.cpp's server, started for the user on a GGUF file."""
