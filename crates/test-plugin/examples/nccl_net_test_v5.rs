//! The test plugin's file for version 5.

use gputcp_nccl_abi::sys::v5::Net;
use gputcp_test_plugin::{export, exports::v5};

export!(ncclNetPlugin_v5: Net = v5::PLAIN);
