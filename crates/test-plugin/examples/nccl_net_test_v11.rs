//! The test plugin's file for version 11.

use gputcp_nccl_abi::sys::v11::Net;
use gputcp_test_plugin::{export, exports::v11};

export!(ncclNetPlugin_v11: Net = v11::PLAIN);
