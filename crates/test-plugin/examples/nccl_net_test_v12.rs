//! The test plugin's file for version 12.

use gputcp_nccl_abi::sys::v12::Net;
use gputcp_test_plugin::{export, exports::v12};

export!(ncclNetPlugin_v12: Net = v12::PLAIN);
