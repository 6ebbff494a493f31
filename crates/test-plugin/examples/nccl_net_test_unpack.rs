//! The test plugin's file with `irecvConsumed` and the unpack queue, for versions 7, 8 and 11.

use gputcp_nccl_abi::sys;
use gputcp_test_plugin::{export, exports};

export!(ncclNetPlugin_v7: sys::v7::Net = exports::v7::UNPACK);
export!(ncclNetPlugin_v8: sys::v8::Net = exports::v8::UNPACK);
export!(ncclNetPlugin_v11: sys::v11::Net = exports::v11::UNPACK);
