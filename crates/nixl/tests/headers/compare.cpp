// Compares NIXL's headers with shim/interface.h: each size, offset, number and place of a virtual method.
//
// The standard's headers come first: the next lines are for NIXL's alone, whose members are not all public.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#define private public
#define protected public
#include "backend/backend_plugin.h"
#include "interface.h"
#undef private
#undef protected

namespace ours = gputcp_nixl;
using E = nixlBackendEngine;
using O = ours::EngineBase;

#pragma GCC diagnostic ignored "-Winvalid-offsetof"
#define SAME_SIZE(theirs, mine) static_assert(sizeof(theirs) == sizeof(mine))
#define SAME_PLACE(theirs, member, mine, other) static_assert(offsetof(theirs, member) == offsetof(mine, other))

SAME_SIZE(nixlBackendPlugin, ours::Plugin);
SAME_PLACE(nixlBackendPlugin, api_version, ours::Plugin, api_version);
SAME_PLACE(nixlBackendPlugin, create_engine, ours::Plugin, create);
SAME_PLACE(nixlBackendPlugin, destroy_engine, ours::Plugin, destroy);
SAME_PLACE(nixlBackendPlugin, get_plugin_name, ours::Plugin, name);
SAME_PLACE(nixlBackendPlugin, get_plugin_version, ours::Plugin, version);
SAME_PLACE(nixlBackendPlugin, get_backend_options, ours::Plugin, options);
SAME_PLACE(nixlBackendPlugin, get_backend_mems, ours::Plugin, memories);
static_assert(NIXL_PLUGIN_API_VERSION == 1);

SAME_SIZE(nixlBackendInitParams, ours::InitParameters);
SAME_PLACE(nixlBackendInitParams, localAgent, ours::InitParameters, agent);
SAME_PLACE(nixlBackendInitParams, type, ours::InitParameters, type);
SAME_PLACE(nixlBackendInitParams, customParams, ours::InitParameters, parameters);
SAME_PLACE(nixlBackendInitParams, enableProgTh, ours::InitParameters, has_progress_thread);
SAME_PLACE(nixlBackendInitParams, pthrDelay, ours::InitParameters, progress_delay_us);
SAME_PLACE(nixlBackendInitParams, syncMode, ours::InitParameters, threads);

SAME_SIZE(nixlBasicDesc, ours::Range);
SAME_PLACE(nixlBasicDesc, addr, ours::Range, address);
SAME_PLACE(nixlBasicDesc, len, ours::Range, bytes);
SAME_PLACE(nixlBasicDesc, devId, ours::Range, device);
SAME_SIZE(nixlBlobDesc, ours::BlobRange);
SAME_PLACE(nixlBlobDesc, metaInfo, ours::BlobRange, blob);
SAME_SIZE(nixlMetaDesc, ours::MetadataRange);
SAME_PLACE(nixlMetaDesc, metadataP, ours::MetadataRange, metadata);
SAME_SIZE(nixlRemoteMetaDesc, ours::RemoteRange);
SAME_PLACE(nixlRemoteMetaDesc, remoteAgent, ours::RemoteRange, agent);
SAME_SIZE(nixl_meta_dlist_t, ours::MetadataList);
SAME_PLACE(nixl_meta_dlist_t, type, ours::MetadataList, memory_);
SAME_PLACE(nixl_meta_dlist_t, descs, ours::MetadataList, items_);

SAME_SIZE(nixlBackendMD, ours::Metadata);
SAME_PLACE(nixlBackendMD, isPrivateMD, ours::Metadata, is_private_);
SAME_SIZE(nixlBackendReqH, ours::Request);
SAME_SIZE(nixlBackendOptionalArgs, ours::Additions);
SAME_PLACE(nixlBackendOptionalArgs, notifMsg, ours::Additions, notification);
SAME_PLACE(nixlBackendOptionalArgs, hasNotif, ours::Additions, has_notification);
SAME_PLACE(nixlBackendOptionalArgs, customParam, ours::Additions, parameter);

SAME_SIZE(E, O);
SAME_PLACE(E, backendType, O, type_);
SAME_PLACE(E, customParams, O, parameters_);
SAME_PLACE(E, initErr, O, has_failed_);
SAME_PLACE(E, localAgent, O, agent_);

static_assert(std::is_same_v<nixl_b_params_t, ours::Parameters>);
static_assert(std::is_same_v<notif_list_t, ours::Notifications>);
static_assert(sizeof(nixl_mem_t) == 4 && DRAM_SEG == int(ours::DRAM) && VRAM_SEG == int(ours::VRAM));
static_assert(sizeof(nixl_xfer_op_t) == 4 && NIXL_READ == int(ours::READ) && NIXL_WRITE == int(ours::WRITE));
static_assert(sizeof(nixl_status_t) == 4 && NIXL_IN_PROG == int(ours::IN_PROGRESS));
static_assert(NIXL_SUCCESS == int(ours::SUCCESS) && NIXL_ERR_NOT_SUPPORTED == int(ours::NOT_SUPPORTED));
// Those of src/status.rs.
static_assert(NIXL_ERR_NOT_POSTED == -1 && NIXL_ERR_INVALID_PARAM == -2 && NIXL_ERR_BACKEND == -3);
static_assert(NIXL_ERR_NOT_FOUND == -4 && NIXL_ERR_MISMATCH == -5 && NIXL_ERR_NOT_ALLOWED == -6);
static_assert(NIXL_ERR_REPOST_ACTIVE == -7 && NIXL_ERR_REMOTE_DISCONNECT == -10 && NIXL_ERR_CANCELED == -11);

using RemoteView = nixl_status_t (E::*)(const nixl_remote_meta_dlist_t &, nixlMemViewH &,
                                        const nixl_opt_b_args_t *) const;
using LocalView = nixl_status_t (E::*)(const nixl_meta_dlist_t &, nixlMemViewH &, const nixl_opt_b_args_t *) const;

int main() {
    const struct {
        const char *name;
        std::size_t theirs, mine;
    } methods[] = {
        {"supportsRemote", ours::slot(&E::supportsRemote), ours::slot(&O::supports_remote)},
        {"supportsLocal", ours::slot(&E::supportsLocal), ours::slot(&O::supports_local)},
        {"supportsNotif", ours::slot(&E::supportsNotif), ours::slot(&O::supports_notifications)},
        {"getSupportedMems", ours::slot(&E::getSupportedMems), ours::slot(&O::memories)},
        {"registerMem", ours::slot(&E::registerMem), ours::slot(&O::register_memory)},
        {"deregisterMem", ours::slot(&E::deregisterMem), ours::slot(&O::deregister_memory)},
        {"connect", ours::slot(&E::connect), ours::slot(&O::connect)},
        {"disconnect", ours::slot(&E::disconnect), ours::slot(&O::disconnect)},
        {"unloadMD", ours::slot(&E::unloadMD), ours::slot(&O::unload)},
        {"prepXfer", ours::slot(&E::prepXfer), ours::slot(&O::prepare)},
        {"postXfer", ours::slot(&E::postXfer), ours::slot(&O::post)},
        {"checkXfer", ours::slot(&E::checkXfer), ours::slot(&O::check)},
        {"releaseReqH", ours::slot(&E::releaseReqH), ours::slot(&O::release)},
        {"prepMemView (remote)", ours::slot(RemoteView(&E::prepMemView)), ours::slot(&O::view_remote)},
        {"prepMemView (local)", ours::slot(LocalView(&E::prepMemView)), ours::slot(&O::view_local)},
        {"releaseMemView", ours::slot(&E::releaseMemView), ours::slot(&O::release_view)},
        {"getPublicData", ours::slot(&E::getPublicData), ours::slot(&O::public_data)},
        {"getConnInfo", ours::slot(&E::getConnInfo), ours::slot(&O::connection_info)},
        {"loadRemoteConnInfo", ours::slot(&E::loadRemoteConnInfo), ours::slot(&O::load_connection_info)},
        {"loadRemoteMD", ours::slot(&E::loadRemoteMD), ours::slot(&O::load_remote)},
        {"loadLocalMD", ours::slot(&E::loadLocalMD), ours::slot(&O::load_local)},
        {"getNotifs", ours::slot(&E::getNotifs), ours::slot(&O::take_notifications)},
        {"genNotif", ours::slot(&E::genNotif), ours::slot(&O::notify)},
        {"queryMem", ours::slot(&E::queryMem), ours::slot(&O::query)},
        {"estimateXferCost", ours::slot(&E::estimateXferCost), ours::slot(&O::estimate)},
    };
    int wrong = 0;
    for (const auto &method : methods) {
        if (method.theirs != method.mine) {
            std::printf("%s is at %zu, and here at %zu\n", method.name, method.theirs, method.mine);
            ++wrong;
        }
    }
    return wrong;
}
