/* The unpack queue in our own words; no header of NCCL's net example has it. */
#include <stddef.h>
#include <stdint.h>

typedef struct { uint32_t src_off, len; uint64_t dst_off; } __attribute__((aligned(16))) loadMeta;
typedef struct { loadMeta mem[16][2048]; uint64_t cnt[16]; } netUnpackMeta;
typedef struct { netUnpackMeta *meta; void *bounce_buf; uint64_t head; } unpackNetDeviceHandle;
