"""The environment of a rank: nothing inherited that changes NCCL, the network asked for, and NCCL's log in a file."""

import os

# Both ends are on one machine, where NCCL would rather use NVLink or shared memory than a network. The NET subsystem has to be
# asked for: NCCL's default is INIT, BOOTSTRAP and ENV.
ONE_MACHINE = {
    "NCCL_P2P_DISABLE": "1",
    "NCCL_SHM_DISABLE": "1",
    "NCCL_IB_DISABLE": "1",
    "NCCL_DEBUG": "INFO",
    "NCCL_DEBUG_SUBSYS": "INIT,NET,ENV",
    "NCCL_SET_THREAD_NAME": "1",
}

FOREIGN = ("NCCL_", "TORCH_NCCL_", "GPUTCP_")


def gputcp(plugin):
    """NCCL over our plugin, or not at all.

    The reference count keeps the plugin when the last communicator ends: NCCL 2.28 forgets its name then, and cannot open it
    again for the next one (NVIDIA/nccl issue 1978).
    """
    return {"NCCL_NET_PLUGIN": plugin, "NCCL_NET": "gputcp", "NCCL_NET_PLUGIN_REF_COUNT": "1"}


def socket():
    """NCCL over its built-in sockets."""
    return {"NCCL_NET_PLUGIN": "none", "NCCL_NET": "Socket"}


def of_rank(rank, options, net, log):
    """The whole environment of one rank. `options.env` comes last and may override anything."""
    made = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    made.update(ONE_MACHINE)
    made["NCCL_SOCKET_IFNAME"] = made["GLOO_SOCKET_IFNAME"] = options.interface
    made["NCCL_DEBUG_FILE"] = str(log)
    if options.share_gpus and options.gpus:
        # NCCL refuses two ranks of one host on one GPU. It knows a host by this name, so ranks that share a GPU are said to be
        # on different hosts; no rank sees a difference, as all of them talk over the network anyway.
        made["NCCL_HOSTID"] = f"host-{rank // options.gpus}"
    made.update(net)
    made.update(pair.split("=", 1) for pair in options.env)
    return made


def is_pair(text):
    """Whether a text is VAR=VALUE."""
    name, equals, _ = text.partition("=")
    return bool(equals) and name.isidentifier()
