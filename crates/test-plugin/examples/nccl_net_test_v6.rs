//! The test plugin's file for version 6.

use gputcp_nccl_abi::sys::v6::Net;
use gputcp_test_plugin::exports::v6;

/// What NCCL looks up.
#[unsafe(no_mangle)]
pub static ncclNetPlugin_v6: Net = v6::PLAIN;
