//! The test plugin's file for version 11.

use gputcp_nccl_net::versions::v11::Net;
use gputcp_test_plugin::{export, exports::plain};

export!(ncclNetPlugin_v11: Net = plain());
