//! The test plugin's file for version 11.

use gputcp_nccl_abi::sys::v11::Net;
use gputcp_test_plugin::exports::v11;

/// What NCCL looks up.
#[unsafe(no_mangle)]
pub static ncclNetPlugin_v11: Net = v11::PLAIN;
