// As much of the CUDA driver as our programs call, on the memory of the host. Memory that was not written is NaN, and every
// buffer ends at a page that must not be touched, so that a kernel that reads too far or too early is seen.
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <sys/mman.h>

#include "device.h"
#include "fibers.h"

namespace {

constexpr size_t PAGE = 4096;
// CUresult
constexpr int DONE = 0, NOT_FOUND = 500;
// CUdevice_attribute
constexpr int CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76;

std::map<std::string, std::function<void(void**)>>& kernels() {
    static std::map<std::string, std::function<void(void**)>> all;
    return all;
}

// Pages from `base`, the last of them closed; `at` is what the program gets.
struct GuardedBuffer {
    char *base, *at;
    size_t pages;
};

// 16 bytes is what kernels may rely on, so up to 15 bytes behind an odd end are not guarded.
GuardedBuffer guarded(size_t bytes) {
    size_t open = (bytes + PAGE - 1) / PAGE * PAGE, used = (bytes + 15) / 16 * 16;
    void* base = mmap(nullptr, open + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        fprintf(stderr, "emulator: no memory for %zu bytes\n", bytes);
        abort();
    }
    auto first = static_cast<char*>(base);
    mprotect(first + open, PAGE, PROT_NONE);
    memset(first, 0xff, open);
    return {first, first + open - used, open + PAGE};
}

std::map<uint64_t, GuardedBuffer> buffers;
void* launched;

int allocate(uint64_t* to, size_t bytes) {
    GuardedBuffer made = guarded(bytes ? bytes : 1);
    *to = reinterpret_cast<uint64_t>(made.at);
    buffers[*to] = made;
    return DONE;
}

int release(uint64_t at) {
    auto found = buffers.find(at);
    if (found == buffers.end()) return NOT_FOUND;
    munmap(found->second.base, found->second.pages);
    buffers.erase(found);
    return DONE;
}

int copy(uint64_t to, const void* from, size_t bytes) {
    memcpy(reinterpret_cast<void*>(to), from, bytes);
    return DONE;
}

template <class T> int gives(T* to, T value) {
    *to = value;
    return DONE;
}

// Contexts, streams, events and pools are told apart by nobody here.
int handle(void** to) { return gives(to, reinterpret_cast<void*>(1)); }

} // namespace

void remember(const char* name, std::function<void(void**)> kernel) { kernels()[name] = std::move(kernel); }
void* launch_memory() { return launched; }

extern "C" {

int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void*, void** arguments, void**) {
    auto name = static_cast<std::string*>(function);
    auto found = kernels().find(*name);
    if (found == kernels().end() || gz != 1 || by != 1 || bz != 1) {
        fprintf(stderr, "emulator: no kernel %s, or a launch in three dimensions\n", name->c_str());
        return NOT_FOUND;
    }
    GuardedBuffer memory = guarded(shared ? shared : 1);
    launched = memory.at;
    gridDim = {gx, gy, 1};
    blockDim = {bx, 1, 1};
    for (unsigned y = 0; y < gy; y++) {
        for (unsigned x = 0; x < gx; x++) {
            blockIdx = {x, y, 0};
            run_block(int(bx), found->second, arguments);
        }
    }
    munmap(memory.base, memory.pages);
    return DONE;
}

int cuModuleLoad(void** module, const char*) { return handle(module); }
int cuModuleLoadData(void** module, const void*) { return handle(module); }
int cuModuleUnload(void*) { return DONE; }
int cuModuleGetFunction(void** function, void*, const char* name) {
    if (!kernels().count(name)) return NOT_FOUND;
    return gives(function, static_cast<void*>(new std::string(name)));
}
int cuFuncSetAttribute(void*, int, int) { return DONE; }

int cuMemAlloc_v2(uint64_t* to, size_t bytes) { return allocate(to, bytes); }
int cuMemAllocAsync(uint64_t* to, size_t bytes, void*) { return allocate(to, bytes); }
int cuMemFree_v2(uint64_t at) { return release(at); }
int cuMemFreeAsync(uint64_t at, void*) { return release(at); }
int cuMemGetInfo_v2(size_t* free, size_t* all) { return gives(free, size_t(8) << 30) + gives(all, size_t(8) << 30); }
int cuMemPoolGetAttribute(void*, int, void* value) { return gives(static_cast<uint64_t*>(value), uint64_t(0)); }
int cuMemPoolSetAttribute(void*, int, void*) { return DONE; }
int cuMemPoolTrimTo(void*, size_t) { return DONE; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) { return copy(to, from, bytes); }
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void*) {
    return copy(reinterpret_cast<uint64_t>(to), reinterpret_cast<const void*>(from), bytes);
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void*) {
    return copy(to, reinterpret_cast<const void*>(from), bytes);
}
int cuMemcpyPeerAsync(uint64_t to, void*, uint64_t from, void*, size_t bytes, void*) {
    return copy(to, reinterpret_cast<const void*>(from), bytes);
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void*) {
    memset(reinterpret_cast<void*>(to), value, bytes);
    return DONE;
}

int cuProfilerStart() { return DONE; }
int cuProfilerStop() { return DONE; }

int cuInit(unsigned) { return DONE; }
int cuDeviceGet(int* device, int number) { return gives(device, number); }
int cuDeviceGetAttribute(int* value, int which, int) {
    return gives(value, which == CAPABILITY_MAJOR ? 8 : which == CAPABILITY_MINOR ? 0 : 1);
}
int cuDeviceGetName(char* name, int bytes, int) {
    snprintf(name, size_t(bytes), "emulator on this CPU");
    return DONE;
}
int cuDeviceGetMemPool(void** pool, int) { return handle(pool); }
int cuDevicePrimaryCtxRetain(void** context, int) { return handle(context); }
int cuDevicePrimaryCtxRelease_v2(int) { return DONE; }
int cuCtxGetCurrent(void** context) { return handle(context); }
int cuCtxSetCurrent(void*) { return DONE; }
int cuCtxDestroy_v2(void*) { return DONE; }
int cuCtxSynchronize() { return DONE; }
int cuStreamCreate(void** stream, unsigned) { return handle(stream); }
int cuStreamDestroy_v2(void*) { return DONE; }
int cuStreamSynchronize(void*) { return DONE; }
int cuStreamWaitEvent(void*, void*, unsigned) { return DONE; }
int cuStreamIsCapturing(void*, int* capturing) { return gives(capturing, 0); }
int cuEventCreate(void** event, unsigned) { return handle(event); }
int cuEventDestroy_v2(void*) { return DONE; }
int cuEventRecord(void*, void*) { return DONE; }
int cuEventSynchronize(void*) { return DONE; }
int cuEventElapsedTime_v2(float* milliseconds, void*, void*) { return gives(milliseconds, NAN); }
int cuGetErrorString(int, const char** text) { return gives(text, "refused by the emulator"); }
}
