//! The test plugin's file for version 6.

use gputcp_nccl_net::versions::v6::Net;
use gputcp_test_plugin::{export, exports::plain};

export!(ncclNetPlugin_v6: Net = plain());
