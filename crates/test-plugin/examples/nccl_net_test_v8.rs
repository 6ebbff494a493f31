//! The test plugin's file for version 8.

use gputcp_nccl_abi::sys::v8::Net;
use gputcp_test_plugin::{export, exports::v8};

export!(ncclNetPlugin_v8: Net = v8::PLAIN);
