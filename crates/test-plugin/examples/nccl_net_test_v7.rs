//! The test plugin's file for version 7.

use gputcp_nccl_abi::sys::v7::Net;
use gputcp_test_plugin::{export, exports::v7};

export!(ncclNetPlugin_v7: Net = v7::PLAIN);
