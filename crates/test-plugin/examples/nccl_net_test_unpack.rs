//! The test plugin's file with `irecvConsumed` and the unpack queue, for versions 7, 8 and 11.

use gputcp_nccl_net::versions::{v7, v8, v11};
use gputcp_test_plugin::{export, exports::unpack};

export!(ncclNetPlugin_v7: v7::Net = unpack());
export!(ncclNetPlugin_v8: v8::Net = unpack());
export!(ncclNetPlugin_v11: v11::Net = unpack());
