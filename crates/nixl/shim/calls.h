// The functions of the Rust side, which do the work; src/calls.rs fills the table.
//
// Statuses are NIXL's numbers. A text need not end in a zero. No function throws or panics.
#pragma once

#include "interface.h"

namespace gputcp_nixl {

struct Text {
    const char *start;
    std::size_t bytes;
};

struct Parameter {
    Text name, value;
};

struct Calls {
    const char *version;
    // The names of the parameters, ended by null.
    const char *const *parameters;
    // Null, after a sentence on stderr, if it fails.
    void *(*start)(Text agent, const Parameter *parameters, std::size_t count);
    void (*stop)(void *agent);
    Status (*register_memory)(void *agent, const Range *range, int memory, void **region);
    Status (*deregister_memory)(void *agent, void *region);
    // Writes at most PUBLIC_BYTES, and returns how many.
    std::size_t (*public_data)(const void *region, char *out);
    std::size_t (*connection_info)(void *agent, char *out);
    Status (*load_connection_info)(void *agent, Text name, Text info);
    Status (*connect)(void *agent, Text name);
    Status (*disconnect)(void *agent, Text name);
    Status (*load_remote)(void *agent, const Range *range, Text blob, Text name, void **remote);
    Status (*load_local)(void *agent, const void *region, void **remote);
    void (*unload)(void *remote);
    Status (*prepare)(void *agent, int operation, const MetadataRange *local, std::size_t locals,
                      const MetadataRange *remote, std::size_t remotes, Text name, void **request);
    Status (*post)(void *agent, void *request, bool has_notification, Text notification);
    Status (*check)(void *request);
    Status (*release)(void *request);
    Status (*take_notifications)(void *agent, void *sink, bool (*add)(void *sink, Text name, Text notification));
    Status (*notify)(void *agent, Text name, Text notification);
};

constexpr std::size_t PUBLIC_BYTES = 256;

} // namespace gputcp_nixl
