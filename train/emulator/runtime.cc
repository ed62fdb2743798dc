// What candle asks of CUDA's runtime and of cuRAND when it starts and opens a device. Kernels of its own that are linked in are
// registered here and never launched; nothing of ours draws numbers on the device.

#include <cstddef>

namespace {

// cudaError_t
constexpr int DONE = 0, INVALID_FUNCTION = 98;

} // namespace

extern "C" {

int cudaGetDevice(int* device) {
    *device = 0;
    return DONE;
}
int cudaFuncSetAttribute(const void*, int, int) { return DONE; }

void** __cudaRegisterFatBinary(void*) {
    static void* handle;
    return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char*, char*, const char*, int, void*, void*, void*, void*, int*) {}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
int __cudaGetKernel(void**, const void*) { return INVALID_FUNCTION; }
int __cudaPushCallConfiguration() { return INVALID_FUNCTION; }
int __cudaPopCallConfiguration() { return INVALID_FUNCTION; }
int __cudaLaunchKernel_ptsz() { return INVALID_FUNCTION; }

int curandCreateGenerator(void** generator, int) {
    *generator = reinterpret_cast<void*>(1);
    return DONE;
}
int curandSetPseudoRandomGeneratorSeed(void*, unsigned long long) { return DONE; }
int curandSetStream(void*, void*) { return DONE; }
int curandDestroyGenerator(void*) { return DONE; }
}
