// The threads of a block as fibers of one host thread: each runs until it has to wait for others, so a barrier that not
// all reach is seen as a deadlock, and every run is the same.
#include "fibers.h"

#include <cstdio>
#include <sys/mman.h>
#include <vector>

#include "device.h"

#ifndef __x86_64__
#error "fibers are switched in x86-64 assembly"
#endif

Dim threadIdx, blockIdx, blockDim, gridDim;

namespace {

constexpr int MOST = 1024, WARPS = MOST / 32;
constexpr size_t STACK = 1 << 17;

enum class Waits { Nobody, Block, Warp };

struct Fiber {
    void* top = nullptr;
    char* stack = nullptr;
    bool live = false;
    // Barriers that it came to.
    uint64_t block = 0, warp = 0;
    Waits waits = Waits::Nobody;
};

// Threads that have to come, that came, and how often all of them did.
struct Barrier {
    int live = 0, came = 0;
    uint64_t passed = 0;

    void see() {
        if (live == 0 || came != live) return;
        came = 0;
        passed++;
    }
};

struct Copy {
    void* to;
    const void* from;
    bool there;
};

Fiber fibers[MOST];
Barrier block, warps[WARPS];
// What each thread says in of_warp, in turns, so that nobody overwrites what others still read.
uint64_t said[2][MOST];
std::vector<Copy> begun[MOST];
std::vector<std::vector<Copy>> groups[MOST];
void* host;
int me;
const std::function<void(void**)>* kernel;
void** arguments;

} // namespace

// Keep what the ABI asks to be kept, leave the stack's top in `*from`, go on at `to`.
extern "C" void switch_stack(void** from, void* to);
asm(R"(
.text
.globl switch_stack
switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

static void wait_for(Waits what) {
    int own = me;
    fibers[own].waits = what;
    switch_stack(&fibers[own].top, host);
    fibers[own].waits = Waits::Nobody;
}

void __syncthreads() {
    uint64_t turn = ++fibers[me].block;
    block.came++;
    block.see();
    while (block.passed < turn) wait_for(Waits::Block);
}

void of_warp(uint64_t mine, uint64_t* all) {
    int own = me, warp = own / 32;
    uint64_t turn = ++fibers[own].warp;
    said[turn % 2][own] = mine;
    warps[warp].came++;
    warps[warp].see();
    while (warps[warp].passed < turn) wait_for(Waits::Warp);
    for (int lane = 0; lane < 32; lane++) all[lane] = said[turn % 2][warp * 32 + lane];
}

void __syncwarp() {
    uint64_t all[32];
    of_warp(0, all);
}

// What is on its way is no number until it is waited for.
void copy_begins(void* to, const void* from, bool there) {
    memset(to, 0xff, 16);
    begun[me].push_back({to, from, there});
}

void copies_group() {
    groups[me].push_back(begun[me]);
    begun[me].clear();
}

void copies_arrive(int left) {
    auto& waiting = groups[me];
    while (int(waiting.size()) > left) {
        for (const Copy& copy : waiting.front()) {
            if (copy.there) memcpy(copy.to, copy.from, 16);
            else memset(copy.to, 0, 16);
        }
        waiting.erase(waiting.begin());
    }
}

static void first() {
    (*kernel)(arguments);
    Fiber& own = fibers[me];
    own.live = false;
    for (Barrier* barrier : {&block, &warps[me / 32]}) {
        barrier->live--;
        barrier->see();
    }
    switch_stack(&own.top, host);
    abort();
}

static void start(int thread) {
    Fiber& fiber = fibers[thread];
    if (!fiber.stack) {
        fiber.stack = static_cast<char*>(
            mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    }
    auto top = reinterpret_cast<void**>(fiber.stack + STACK);
    // Three words keep the stack aligned as a call would; then where switch_stack returns to, and six registers.
    for (int i = 0; i < 3; i++) *--top = nullptr;
    *--top = reinterpret_cast<void*>(first);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fiber = {top, fiber.stack, true, 0, 0, Waits::Nobody};
    begun[thread].clear();
    groups[thread].clear();
    block.live++;
    warps[thread / 32].live++;
}

static bool may_run(int thread) {
    const Fiber& fiber = fibers[thread];
    switch (fiber.waits) {
        case Waits::Block: return fiber.live && block.passed >= fiber.block;
        case Waits::Warp: return fiber.live && warps[thread / 32].passed >= fiber.warp;
        default: return fiber.live;
    }
}

void run_block(int threads, const std::function<void(void**)>& what, void** from) {
    if (threads > MOST) {
        fprintf(stderr, "emulator: a block of %d threads\n", threads);
        abort();
    }
    kernel = &what;
    arguments = from;
    block = {};
    for (Barrier& warp : warps) warp = {};
    for (int thread = 0; thread < threads; thread++) start(thread);
    for (int left = threads; left > 0;) {
        bool ran = false;
        for (int thread = 0; thread < threads; thread++) {
            if (!may_run(thread)) continue;
            ran = true;
            me = thread;
            threadIdx = {unsigned(thread), 0, 0};
            switch_stack(&host, fibers[thread].top);
            if (!fibers[thread].live) left--;
        }
        if (ran) continue;
        fprintf(stderr, "emulator: %d threads wait for each other\n", left);
        abort();
    }
}
