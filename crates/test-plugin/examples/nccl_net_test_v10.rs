//! The test plugin's file for version 10.

use gputcp_nccl_abi::sys::v10::Net;
use gputcp_test_plugin::{export, exports::v10};

export!(ncclNetPlugin_v10: Net = v10::PLAIN);
