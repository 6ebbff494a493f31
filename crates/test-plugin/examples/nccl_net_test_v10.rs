//! The test plugin's file for version 10.

use gputcp_nccl_net::versions::v10::Net;
use gputcp_test_plugin::{export, exports::plain};

export!(ncclNetPlugin_v10: Net = plain());
