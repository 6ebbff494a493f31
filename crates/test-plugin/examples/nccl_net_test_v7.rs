//! The test plugin's file for version 7.

use gputcp_nccl_abi::sys::v7::Net;
use gputcp_test_plugin::exports::v7;

/// What NCCL looks up.
#[unsafe(no_mangle)]
pub static ncclNetPlugin_v7: Net = v7::PLAIN;
