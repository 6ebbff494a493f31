//! The test plugin's file for version 7.

use gputcp_nccl_net::versions::v7::Net;
use gputcp_test_plugin::{export, exports::plain};

export!(ncclNetPlugin_v7: Net = plain());
