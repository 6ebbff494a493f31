//! The test plugin's file for version 10.

use gputcp_nccl_abi::sys::v10::Net;
use gputcp_test_plugin::exports::v10;

/// What NCCL looks up.
#[unsafe(no_mangle)]
pub static ncclNetPlugin_v10: Net = v10::PLAIN;
