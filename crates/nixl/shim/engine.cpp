// The backend as NIXL sees it: each method hands its arguments to the Rust side.
//
// Lists are handed over in place. No exception leaves a method.

#include "calls.h"

#include <new>

// Newer compilers call it from vectors. It is not in the libstdc++ of older systems, so this library has its own.
namespace std {
void __throw_bad_array_new_length() { throw std::bad_alloc(); }
} // namespace std

namespace gputcp_nixl {
namespace {

const Calls *calls = nullptr;

Text text(const std::string &of) { return {of.data(), of.size()}; }

template <class Body> Status guarded(Body body) noexcept {
    try {
        return body();
    } catch (...) {
        return BACKEND_FAILED;
    }
}

// The Rust side's object for memory, where Rust finds it: behind NIXL's base.
class Held final : public Metadata {
  public:
    explicit Held(void *object) : Metadata(true), object_(object) {}

    static void *of(const Metadata *metadata) {
        return metadata ? static_cast<const Held *>(metadata)->object_ : nullptr;
    }

  private:
    friend struct HeldLayout;
    void *object_;
};

struct HeldLayout {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"
    static_assert(sizeof(Held) == 24 && offsetof(Held, object_) == 16);
#pragma GCC diagnostic pop
};

class Prepared final : public Request {
  public:
    explicit Prepared(void *object) : object(object) {}

    static void *of(const Request *request) {
        return request ? static_cast<const Prepared *>(request)->object : nullptr;
    }

    void *const object;
};

// Gives NIXL an object of the Rust side's, or takes it back if there is no memory for it.
template <class Owner, class Base, class Free> Status give(Status status, void *object, Base *&out, Free free) {
    if (status != SUCCESS) {
        return status;
    }
    out = new (std::nothrow) Owner(object);
    if (!out) {
        free(object);
        return BACKEND_FAILED;
    }
    return SUCCESS;
}

bool add(void *sink, Text name, Text notification) noexcept {
    try {
        static_cast<Notifications *>(sink)->emplace_back(std::string(name.start, name.bytes),
                                                         std::string(notification.start, notification.bytes));
        return true;
    } catch (...) {
        return false;
    }
}

class Engine final : public EngineBase {
  public:
    Engine(const InitParameters &with, void *agent) : EngineBase(with), rust_(agent) {}
    ~Engine() override { calls->stop(rust_); }

    bool supports_remote() const override { return true; }
    bool supports_local() const override { return true; }
    bool supports_notifications() const override { return true; }
    Memories memories() const override { return {DRAM, VRAM}; }

    Status register_memory(const BlobRange &range, const Memory &memory, Metadata *&out) override {
        void *region = nullptr;
        Status status = calls->register_memory(rust_, &range, memory, &region);
        return give<Held>(status, region, out, [this](void *region) { calls->deregister_memory(rust_, region); });
    }

    Status deregister_memory(Metadata *metadata) override {
        void *region = Held::of(metadata);
        delete metadata;
        return calls->deregister_memory(rust_, region);
    }

    Status connect(const std::string &name) override { return calls->connect(rust_, text(name)); }
    Status disconnect(const std::string &name) override { return calls->disconnect(rust_, text(name)); }

    Status unload(Metadata *metadata) override {
        void *remote = Held::of(metadata);
        delete metadata;
        calls->unload(remote);
        return SUCCESS;
    }

    Status prepare(const Operation &operation, const MetadataList &local, const MetadataList &remote,
                   const std::string &name, Request *&out, const Additions *) const override {
        void *request = nullptr;
        Status status = calls->prepare(rust_, operation, local.items(), local.count(), remote.items(),
                                       remote.count(), text(name), &request);
        return give<Prepared>(status, request, out, [](void *request) { calls->release(request); });
    }

    Status post(const Operation &, const MetadataList &, const MetadataList &, const std::string &,
                Request *&request, const Additions *additions) const override {
        bool has_notification = additions && additions->has_notification;
        Text notification = has_notification ? text(additions->notification) : Text{nullptr, 0};
        return calls->post(rust_, Prepared::of(request), has_notification, notification);
    }

    Status check(Request *request) const override { return calls->check(Prepared::of(request)); }

    Status release(Request *request) const override {
        void *object = Prepared::of(request);
        delete request;
        return calls->release(object);
    }

    Status view_remote(const List<RemoteRange> &, void *&, const Additions *) const override {
        return NOT_SUPPORTED;
    }
    Status view_local(const MetadataList &, void *&, const Additions *) const override { return NOT_SUPPORTED; }
    void release_view(void *) const override {}

    Status public_data(const Metadata *metadata, std::string &out) const override {
        return guarded([&] {
            char bytes[PUBLIC_BYTES];
            out.assign(bytes, calls->public_data(Held::of(metadata), bytes));
            return SUCCESS;
        });
    }

    Status connection_info(std::string &out) const override {
        return guarded([&] {
            char bytes[PUBLIC_BYTES];
            out.assign(bytes, calls->connection_info(rust_, bytes));
            return SUCCESS;
        });
    }

    Status load_connection_info(const std::string &name, const std::string &info) override {
        return calls->load_connection_info(rust_, text(name), text(info));
    }

    Status load_remote(const BlobRange &range, const Memory &, const std::string &name, Metadata *&out) override {
        void *remote = nullptr;
        Status status = calls->load_remote(rust_, &range, text(range.blob), text(name), &remote);
        return give<Held>(status, remote, out, calls->unload);
    }

    Status load_local(Metadata *metadata, Metadata *&out) override {
        void *remote = nullptr;
        Status status = calls->load_local(rust_, Held::of(metadata), &remote);
        return give<Held>(status, remote, out, calls->unload);
    }

    Status take_notifications(Notifications &out) override { return calls->take_notifications(rust_, &out, add); }

    Status notify(const std::string &name, const std::string &notification) const override {
        return calls->notify(rust_, text(name), text(notification));
    }

    Status query(const List<BlobRange> &, std::vector<std::optional<Parameters>> &) const override {
        return NOT_SUPPORTED;
    }

    Status estimate(const Operation &, const MetadataList &, const MetadataList &, const std::string &,
                    Request *const &, std::chrono::microseconds &, std::chrono::microseconds &, Cost &,
                    const void *) const override {
        return NOT_SUPPORTED;
    }

  private:
    void *const rust_;
};

EngineBase *create(const InitParameters *with) noexcept {
    try {
        if (!with) {
            return nullptr;
        }
        std::vector<Parameter> parameters;
        if (with->parameters) {
            for (const auto &[name, value] : *with->parameters) {
                parameters.push_back({text(name), text(value)});
            }
        }
        void *agent = calls->start(text(with->agent), parameters.data(), parameters.size());
        if (!agent) {
            return nullptr;
        }
        EngineBase *engine = nullptr;
        try {
            engine = new Engine(*with, agent);
        } catch (...) {
            calls->stop(agent);
        }
        return engine;
    } catch (...) {
        return nullptr;
    }
}

void destroy(EngineBase *engine) { delete engine; }

Parameters options() {
    Parameters all;
    for (const char *const *name = calls->parameters; *name; ++name) {
        all.emplace(*name, "");
    }
    return all;
}

} // namespace
} // namespace gputcp_nixl

// Returns what nixl_plugin_init returns. The calls stay as long as the process.
extern "C" void *gputcp_nixl_plugin(const gputcp_nixl::Calls *calls) {
    using namespace gputcp_nixl;
    gputcp_nixl::calls = calls;
    static Plugin plugin = {
        1,
        create,
        destroy,
        [] { return "GPUTCP"; },
        [] { return gputcp_nixl::calls->version; },
        options,
        [] { return Memories{DRAM, VRAM}; },
    };
    return &plugin;
}

extern "C" const char *gputcp_nixl_misplaced() { return gputcp_nixl::misplaced(); }
