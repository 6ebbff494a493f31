// NIXL's backend interface, from 1.0 on: the types that cross the border between NIXL and a backend.
//
// Names are this project's. Sizes, offsets and the order of virtual methods are NIXL's; the assertions below
// fail the build where a compiler disagrees. tests/headers.rs compares them with NIXL's own headers.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace gputcp_nixl {

enum Status : int {
    IN_PROGRESS = 1,
    SUCCESS = 0,
    INVALID_PARAMETER = -2,
    BACKEND_FAILED = -3,
    NOT_FOUND = -4,
    NOT_SUPPORTED = -9,
};

enum Memory : int { DRAM = 0, VRAM = 1 };

enum Operation : int { READ = 0, WRITE = 1 };

enum class Threads : int { NONE, STRICT, READ_WRITE };

enum class Cost : int { ANALYTICAL };

using Parameters = std::unordered_map<std::string, std::string>;
using Memories = std::vector<Memory>;
using Notifications = std::vector<std::pair<std::string, std::string>>;

struct InitParameters {
    std::string agent;
    std::string type;
    Parameters *parameters;
    bool has_progress_thread;
    std::uint64_t progress_delay_us;
    Threads threads;
    bool has_telemetry;
};

// A range of memory: a device's number is a GPU's for VRAM.
struct Range {
    std::uintptr_t address;
    std::size_t bytes;
    std::uint64_t device;
};

struct BlobRange : Range {
    std::string blob;
};

// What a backend knows of registered memory. NIXL holds it by this base.
class Metadata {
  public:
    explicit Metadata(bool is_private) : is_private_(is_private) {}
    virtual ~Metadata() = default;

  protected:
    bool is_private_;
};

struct MetadataRange : Range {
    Metadata *metadata;
};

struct RemoteRange : MetadataRange {
    std::string agent;
};

template <class Item> class List {
  public:
    virtual ~List() = default;

    const Item *items() const { return items_.data(); }
    std::size_t count() const { return items_.size(); }

  private:
    friend struct Layout;
    Memory memory_;
    std::vector<Item> items_;
};

using MetadataList = List<MetadataRange>;

// A prepared transfer, as NIXL holds it.
class Request {
  public:
    virtual ~Request() = default;
};

// What a user adds to a transfer.
struct Additions {
    std::string notification;
    bool has_notification;
    std::string parameter;
};

// A backend of one agent: NIXL calls it by its virtual table, and reads the members.
class EngineBase {
  public:
    explicit EngineBase(const InitParameters &with)
        : type_(with.type), parameters_(with.parameters ? *with.parameters : Parameters()), agent_(with.agent),
          has_telemetry_(with.has_telemetry) {}
    EngineBase(const EngineBase &) = delete;
    EngineBase &operator=(const EngineBase &) = delete;

    virtual ~EngineBase() = default;
    virtual bool supports_remote() const = 0;
    virtual bool supports_local() const = 0;
    virtual bool supports_notifications() const = 0;
    virtual Memories memories() const = 0;
    virtual Status register_memory(const BlobRange &, const Memory &, Metadata *&) = 0;
    virtual Status deregister_memory(Metadata *) = 0;
    virtual Status connect(const std::string &) = 0;
    virtual Status disconnect(const std::string &) = 0;
    virtual Status unload(Metadata *) = 0;
    virtual Status prepare(const Operation &, const MetadataList &, const MetadataList &, const std::string &,
                           Request *&, const Additions *) const = 0;
    virtual Status post(const Operation &, const MetadataList &, const MetadataList &, const std::string &,
                        Request *&, const Additions *) const = 0;
    virtual Status check(Request *) const = 0;
    virtual Status release(Request *) const = 0;
    virtual Status view_remote(const List<RemoteRange> &, void *&, const Additions *) const = 0;
    virtual Status view_local(const MetadataList &, void *&, const Additions *) const = 0;
    virtual void release_view(void *) const = 0;
    virtual Status public_data(const Metadata *, std::string &) const = 0;
    virtual Status connection_info(std::string &) const = 0;
    virtual Status load_connection_info(const std::string &, const std::string &) = 0;
    virtual Status load_remote(const BlobRange &, const Memory &, const std::string &, Metadata *&) = 0;
    virtual Status load_local(Metadata *, Metadata *&) = 0;
    virtual Status take_notifications(Notifications &) = 0;
    virtual Status notify(const std::string &, const std::string &) const = 0;
    virtual Status query(const List<BlobRange> &, std::vector<std::optional<Parameters>> &) const = 0;
    virtual Status estimate(const Operation &, const MetadataList &, const MetadataList &, const std::string &,
                            Request *const &, std::chrono::microseconds &, std::chrono::microseconds &, Cost &,
                            const void *) const = 0;

  private:
    friend struct Layout;
    std::string type_;
    Parameters parameters_;
    // NIXL takes its telemetry from here; this backend adds none.
    std::vector<std::uint64_t> telemetry_;
    std::mutex telemetry_mutex_;

  protected:
    bool has_failed_ = false;
    const std::string agent_;
    const bool has_telemetry_;
};

// What nixl_plugin_init returns.
struct Plugin {
    int api_version;
    EngineBase *(*create)(const InitParameters *);
    void (*destroy)(EngineBase *);
    const char *(*name)();
    const char *(*version)();
    Parameters (*options)();
    Memories (*memories)();
};

struct Layout {
    static_assert(sizeof(Plugin) == 56 && offsetof(Plugin, create) == 8 && offsetof(Plugin, memories) == 48);
    static_assert(offsetof(Plugin, destroy) == 16 && offsetof(Plugin, name) == 24);
    static_assert(offsetof(Plugin, version) == 32 && offsetof(Plugin, options) == 40);
    static_assert(sizeof(InitParameters) == 96 && offsetof(InitParameters, type) == 32);
    static_assert(offsetof(InitParameters, parameters) == 64 && offsetof(InitParameters, has_progress_thread) == 72);
    static_assert(offsetof(InitParameters, progress_delay_us) == 80 && offsetof(InitParameters, threads) == 88);
    static_assert(offsetof(InitParameters, has_telemetry) == 92);
    static_assert(sizeof(Range) == 24 && offsetof(Range, bytes) == 8 && offsetof(Range, device) == 16);
    static_assert(sizeof(BlobRange) == 56 && sizeof(MetadataRange) == 32 && sizeof(RemoteRange) == 64);
    static_assert(sizeof(Metadata) == 16 && sizeof(Request) == 8 && sizeof(MetadataList) == 40);
    static_assert(sizeof(Additions) == 72 && offsetof(Additions, has_notification) == 32);
    static_assert(offsetof(Additions, parameter) == 40);
    static_assert(sizeof(Status) == 4 && sizeof(Memory) == 4 && sizeof(Operation) == 4);
    // 40 bytes on x86-64, 48 on AArch64.
    static constexpr std::size_t MUTEX = sizeof(std::mutex);
    static_assert(sizeof(EngineBase) == 168 + MUTEX);
#pragma GCC diagnostic push
// Members of classes with virtual methods: the compilers in use give their offsets.
#pragma GCC diagnostic ignored "-Winvalid-offsetof"
    static_assert(offsetof(BlobRange, blob) == 24 && offsetof(MetadataRange, metadata) == 24);
    static_assert(offsetof(RemoteRange, agent) == 32);
    static_assert(offsetof(MetadataList, memory_) == 8 && offsetof(MetadataList, items_) == 16);
    static_assert(offsetof(EngineBase, type_) == 8 && offsetof(EngineBase, parameters_) == 40);
    static_assert(offsetof(EngineBase, telemetry_) == 96 && offsetof(EngineBase, telemetry_mutex_) == 120);
    static_assert(offsetof(EngineBase, has_failed_) == 120 + MUTEX && offsetof(EngineBase, agent_) == 128 + MUTEX);
    static_assert(offsetof(EngineBase, has_telemetry_) == 160 + MUTEX);
#pragma GCC diagnostic pop
};

// The place of a virtual method in the table, by the Itanium C++ ABI: a pointer to it holds 1 + 8 × its place.
template <class Method> std::size_t slot(Method method) {
    static_assert(sizeof(Method) == 16);
    std::uintptr_t first;
    __builtin_memcpy(&first, &method, sizeof first);
    return (first - 1) / 8;
}

// Returns the first method that is not at its place in NIXL's table, or null.
inline const char *misplaced() {
    using E = EngineBase;
    const struct {
        const char *name;
        std::size_t is, should;
    } methods[] = {
        {"supports_remote", slot(&E::supports_remote), 2},
        {"supports_local", slot(&E::supports_local), 3},
        {"supports_notifications", slot(&E::supports_notifications), 4},
        {"memories", slot(&E::memories), 5},
        {"register_memory", slot(&E::register_memory), 6},
        {"deregister_memory", slot(&E::deregister_memory), 7},
        {"connect", slot(&E::connect), 8},
        {"disconnect", slot(&E::disconnect), 9},
        {"unload", slot(&E::unload), 10},
        {"prepare", slot(&E::prepare), 11},
        {"post", slot(&E::post), 12},
        {"check", slot(&E::check), 13},
        {"release", slot(&E::release), 14},
        {"view_remote", slot(&E::view_remote), 15},
        {"view_local", slot(&E::view_local), 16},
        {"release_view", slot(&E::release_view), 17},
        {"public_data", slot(&E::public_data), 18},
        {"connection_info", slot(&E::connection_info), 19},
        {"load_connection_info", slot(&E::load_connection_info), 20},
        {"load_remote", slot(&E::load_remote), 21},
        {"load_local", slot(&E::load_local), 22},
        {"take_notifications", slot(&E::take_notifications), 23},
        {"notify", slot(&E::notify), 24},
        {"query", slot(&E::query), 25},
        {"estimate", slot(&E::estimate), 26},
    };
    for (const auto &method : methods) {
        if (method.is != method.should) {
            return method.name;
        }
    }
    return nullptr;
}

} // namespace gputcp_nixl
