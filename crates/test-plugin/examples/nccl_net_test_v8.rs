//! The test plugin's file for version 8.

use gputcp_nccl_abi::sys::v8::Net;
use gputcp_test_plugin::exports::v8;

/// What NCCL looks up.
#[unsafe(no_mangle)]
pub static ncclNetPlugin_v8: Net = v8::PLAIN;
