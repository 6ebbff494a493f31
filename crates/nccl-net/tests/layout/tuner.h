/* NCCL's tuner interface in our own words: what lies where. Functions are all alike here. */
#include <stddef.h>

typedef int (*tuner_function)(void);

typedef struct { const char *name; tuner_function init, getCollInfo, destroy; } ncclTuner_v3_t;
typedef ncclTuner_v3_t ncclTuner_v4_t;
typedef struct { const char *name; tuner_function init, getCollInfo, finalize; } ncclTuner_v5_t;
typedef struct { const char *name; tuner_function init, getCollInfo, finalize, getChunkSize; } ncclTuner_v6_t;
