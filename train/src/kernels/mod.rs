//! Every kernel, on the CPU and on CUDA, with one signature.
