// A block of threads on the host.
#pragma once

#include <functional>

// Run every thread of the block that blockIdx names, until all have ended.
void run_block(int threads, const std::function<void(void**)>& what, void** from);
