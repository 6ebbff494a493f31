//! The command as its users meet it: what it prints, how it ends, and that it always does.

mod bootstrap;
#[path = "../../../test-plugin/built.rs"]
mod built;
mod bursts;
mod cables;
mod conformance;
mod doctor;
mod frames;
mod gpu;
mod hostile;
mod interrupted;
mod measure;
mod merged_interfaces;
mod net_plugin;
mod network_namespaces;
mod one_sided;
mod output;
mod plugin;
mod process;
mod trace;
mod usage;
mod violations;
