// The kernels of gputcp: unpack a list of fragments, write and verify the test pattern, raise a flag.
//
// `cargo xtask kernels` compiles this file to unpack.ptx and, for GPUs from Hopper on, to unpack_sm90.ptx.
// Both are in the repository; a test fails when one is older.
// Invariant: a kernel touches only the bytes its arguments name, whole units at their own alignment.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// -------------------------------------------------------------------------------------------------- unpack

// One fragment, as the host lists it (fragments.rs): addresses, and a length in bytes.
struct Entry {
    u64 source;
    u64 destination;
    u64 bytes;
};

// kernels/mod.rs has the same numbers.
constexpr u32 BLOCK_THREADS = 256;
constexpr u32 WARP = 32;
constexpr u32 BLOCK_WARPS = BLOCK_THREADS / WARP;
// The bytes that a warp copies at a time: eight 16-byte loads a lane, all under way before the first is
// stored.
constexpr u32 TILE_BYTES = 4096;

// Copies every `parts`-th tile of `units` units, beginning with tile `part`.
template <typename Unit>
__device__ __forceinline__ void copy_units(const Unit* __restrict__ source, Unit* __restrict__ destination, u64 units,
                                           u32 part, u32 parts, u32 lane) {
    constexpr u32 TILE = TILE_BYTES / sizeof(Unit);
    constexpr u32 EACH = 8;
    for (u64 tile = part; tile * TILE < units; tile += parts) {
        const Unit* from = source + tile * TILE + lane;
        Unit* to = destination + tile * TILE + lane;
        const u64 left = units - tile * TILE;
        const u32 here = left < TILE ? (u32)left : TILE;
        u32 at = lane;
        for (; at + (EACH - 1) * WARP < here; at += EACH * WARP, from += EACH * WARP, to += EACH * WARP) {
            Unit held[EACH];
#pragma unroll
            for (u32 i = 0; i < EACH; i++) held[i] = from[i * WARP];
#pragma unroll
            for (u32 i = 0; i < EACH; i++) to[i * WARP] = held[i];
        }
#pragma unroll 1
        for (; at < here; at += WARP, from += WARP, to += WARP) *to = *from;
    }
}

// Copies as above, but from the first byte on: the `head` bytes bring both sides to a unit's start.
template <typename Unit>
__device__ __forceinline__ void copy_aligned(const u8* source, u8* destination, u64 bytes, u32 part, u32 parts,
                                             u32 lane) {
    u64 head = (0 - (u64)destination) % sizeof(Unit);
    if (head > bytes) head = bytes;
    const u64 units = (bytes - head) / sizeof(Unit);
    copy_units((const Unit*)(source + head), (Unit*)(destination + head), units, part, parts, lane);
    // Less than a unit is left at both ends: a lane for each byte.
    const u64 done = head + units * sizeof(Unit);
    if (part == 0 && lane < head) destination[lane] = source[lane];
    if (part == 0 && lane < bytes - done) destination[done + lane] = source[done + lane];
}

// Copies a fragment in the widest unit for which source and destination are equally far from alignment.
__device__ __forceinline__ void copy_entry(const Entry& entry, u32 part, u32 parts, u32 lane) {
    const u8* source = (const u8*)entry.source;
    u8* destination = (u8*)entry.destination;
    const u32 skew = (u32)(entry.source ^ entry.destination);
    if (skew % 16 == 0)
        copy_aligned<uint4>(source, destination, entry.bytes, part, parts, lane);
    else if (skew % 8 == 0)
        copy_aligned<uint2>(source, destination, entry.bytes, part, parts, lane);
    else if (skew % 4 == 0)
        copy_aligned<u32>(source, destination, entry.bytes, part, parts, lane);
    else if (skew % 2 == 0)
        copy_aligned<u16>(source, destination, entry.bytes, part, parts, lane);
    else
        copy_aligned<u8>(source, destination, entry.bytes, part, parts, lane);
}

// Every thread comes here before it touches anything. In an early launch it waits until the work before this
// kernel in the stream is complete, with its writes visible. Only then does it let the next kernel start. So
// the blocks of that kernel are in place when this one ends, and the order is still the stream's. Nothing
// needs to be compared, whatever kernels read and write. In any other launch there is nothing to wait for.
// (Early launch: programmatic dependent launch, from Hopper on.)
__device__ __forceinline__ void wait_for_those_before() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Copies `count` fragments, each by `parts` warps; their product is below 2^31. A list of one comes as an
// argument, and `list` is null: reading it from host memory would cost a trip over the bus. All warps work on
// it then.
//
// The first act is to raise the flag to `before`. Once this kernel runs (in an early launch, once its wait
// ends), all work before it in the stream is done. A flag at the kernel's end would cost a fence in every
// block and a wait for the bus. Measured on an H200, 512 KiB launches back to back: 4.05 us each at the end,
// 3.00 so, and 2.82 without a flag.
//
// In an early launch, the wait makes earlier writes visible to this grid (PTX ISA, griddepcontrol). No
// document says more. That other streams of the GPU, asked after the flag, find the writes too follows from
// its one L2, and gpu-check tests it. The host's memory need not have them: the stream writes the flag of
// work that writes there (stream.rs). A fence for the whole system before the flag here would cost as much as
// all that early launches gain (H100: 4.13 against 2.80 us).
extern "C" __global__ void __launch_bounds__(BLOCK_THREADS, 4)
    unpack(const Entry* list, Entry only, u32 count, u32 parts, volatile u32* flag, u32 before) {
    __shared__ Entry entries[BLOCK_WARPS];
    wait_for_those_before();
    if (blockIdx.x == 0 && threadIdx.x == 0) *flag = before;
    const u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const u32 unit = blockIdx.x * BLOCK_WARPS + warp;
    u32 part = unit;
    if (list == nullptr) {
        parts = gridDim.x * BLOCK_WARPS;
    } else {
        // The block's warps work on at most as many fragments as there are warps, one after another in the
        // list.
        const u32 first = blockIdx.x * BLOCK_WARPS / parts;
        const u32 here = count - first < BLOCK_WARPS ? count - first : BLOCK_WARPS;
        const u32 words = here * (sizeof(Entry) / sizeof(u64));
        if (threadIdx.x < words) ((u64*)entries)[threadIdx.x] = ((const u64*)(list + first))[threadIdx.x];
        __syncthreads();
        if (unit >= count * parts) return;
        only = entries[unit / parts - first];
        part = unit % parts;
    }
    copy_entry(only, part, parts, lane);
}

// Raises the flag after all work before it in the stream, if the driver has no memory operations for streams.
// Like those, it does so behind a fence for the whole system.
extern "C" __global__ void mark(volatile u32* flag, u32 before) {
    __threadfence_system();
    *flag = before;
}

// Ends the context with an error that stays: to test that a lost GPU is reported.
extern "C" __global__ void fail() { asm volatile("trap;"); }

// -------------------------------------------------------------------------------------------------- pattern

// As in pattern/mod.rs and pattern/words.rs: a key for each block of 2^18 words, and a word of each state.
constexpr u32 STEP = 0x9e3779b9;
constexpr u32 BLOCK_WORDS_LOG2 = 18;
constexpr u32 IN_BLOCK = (1u << BLOCK_WORDS_LOG2) - 1;

__device__ __forceinline__ u64 scramble(u64 x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

__device__ __forceinline__ u32 key_of(u64 hash, u64 word) {
    return (u32)(scramble(hash ^ (word >> BLOCK_WORDS_LOG2)) >> 32);
}

__device__ __forceinline__ u32 word_of(u32 key, u64 word) {
    u32 state = key + ((u32)word & IN_BLOCK) * STEP;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

__device__ __forceinline__ u8 message_byte(u64 hash, u64 at) {
    const u64 word = at >> 2;
    return (u8)(word_of(key_of(hash, word), word) >> (8 * ((u32)at & 3)));
}

// Returns 16 bytes of the message from `at` on, which need be no word's start.
__device__ __forceinline__ uint4 message_16(u64 hash, u64 at) {
    const u64 first = at >> 2;
    u32 key = key_of(hash, first);
    u32 words[5];
#pragma unroll
    for (u32 i = 0; i < 5; i++) {
        const u64 word = first + i;
        if (i > 0 && ((u32)word & IN_BLOCK) == 0) key = key_of(hash, word);
        words[i] = word_of(key, word);
    }
    const u32 shift = 8 * ((u32)at & 3);
    return make_uint4(__funnelshift_r(words[0], words[1], shift), __funnelshift_r(words[1], words[2], shift),
                      __funnelshift_r(words[2], words[3], shift), __funnelshift_r(words[3], words[4], shift));
}

// The parts of a range of bytes: single bytes, 16-byte units at their own alignment, single bytes.
struct Cut {
    u64 head, units, tail;
    __device__ __forceinline__ Cut(const u8* start, u64 bytes) {
        head = (0 - (u64)start) % 16;
        if (head > bytes) head = bytes;
        units = (bytes - head) / 16;
        tail = bytes - head - units * 16;
    }
};

// Writes `bytes` bytes of the message from its byte `at` on.
extern "C" __global__ void __launch_bounds__(BLOCK_THREADS) fill(u8* start, u64 bytes, u64 at, u64 hash) {
    const u64 thread = (u64)blockIdx.x * blockDim.x + threadIdx.x, threads = (u64)gridDim.x * blockDim.x;
    const Cut cut(start, bytes);
    uint4* units = (uint4*)(start + cut.head);
    for (u64 i = thread; i < cut.units; i += threads) units[i] = message_16(hash, at + cut.head + 16 * i);
    const u64 done = cut.head + 16 * cut.units;
    if (thread < cut.head) start[thread] = message_byte(hash, at + thread);
    if (thread < cut.tail) start[done + thread] = message_byte(hash, at + done + thread);
}

// The result of a verification. The host sets it to {~0, 0}.
struct Found {
    u64 first;
    u64 wrong;
};

__device__ __forceinline__ void compare(u32 found, u32 expected, u64 at, u64& first, u32& wrong) {
    if (found == expected) return;
    const u64 here = at + (__ffs(found ^ expected) - 1) / 8;
    if (here < first) first = here;
    wrong += __popc(__vcmpne4(found, expected)) / 8;
}

// Compares `bytes` bytes with the message from its byte `at` on. `first` is counted from `start`.
extern "C" __global__ void __launch_bounds__(BLOCK_THREADS)
    verify(const u8* start, u64 bytes, u64 at, u64 hash, Found* result) {
    const u64 thread = (u64)blockIdx.x * blockDim.x + threadIdx.x, threads = (u64)gridDim.x * blockDim.x;
    const Cut cut(start, bytes);
    const uint4* units = (const uint4*)(start + cut.head);
    u64 first = ~0ull, wrong = 0;
    for (u64 i = thread; i < cut.units; i += threads) {
        const u64 here = cut.head + 16 * i;
        const uint4 found = units[i], expected = message_16(hash, at + here);
        u32 count = 0;
        compare(found.x, expected.x, here, first, count);
        compare(found.y, expected.y, here + 4, first, count);
        compare(found.z, expected.z, here + 8, first, count);
        compare(found.w, expected.w, here + 12, first, count);
        wrong += count;
    }
    const u64 done = cut.head + 16 * cut.units;
    u32 count = 0;
    if (thread < cut.head) compare(start[thread], message_byte(hash, at + thread), thread, first, count);
    if (thread < cut.tail) compare(start[done + thread], message_byte(hash, at + done + thread), done + thread, first, count);
    wrong += count;
    if (wrong > 0) {
        atomicMin(&result->first, first);
        atomicAdd(&result->wrong, wrong);
    }
}
