//! The test plugin's file for version 11 without a name.

use gputcp_nccl_abi::sys::v11::Net;
use gputcp_test_plugin::{export, exports::v11};

export!(ncclNetPlugin_v11: Net = Net { name: std::ptr::null(), ..v11::PLAIN });
