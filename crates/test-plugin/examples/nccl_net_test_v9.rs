//! The test plugin's file for version 9.

use gputcp_nccl_abi::sys::v9::Net;
use gputcp_test_plugin::{export, exports::v9};

export!(ncclNetPlugin_v9: Net = v9::PLAIN);
