//! The test plugin's file for version 6.

use gputcp_nccl_abi::sys::v6::Net;
use gputcp_test_plugin::{export, exports::v6};

export!(ncclNetPlugin_v6: Net = v6::PLAIN);
