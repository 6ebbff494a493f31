//! The test plugin's file for version 12.

use gputcp_nccl_net::versions::v12::Net;
use gputcp_test_plugin::{export, exports::plain};

export!(ncclNetPlugin_v12: Net = plain());
