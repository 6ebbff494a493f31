//! `gputcp plugin`: what a NCCL net plugin says of itself; `check` says whether it does what it must.

pub mod check;
pub mod check_side;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use gputcp_nccl_drive::{Plugin, Properties, leave};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args::PluginListArgs,
    failure::Failure,
    host::plugin::NetPlugin,
    interrupt::Interrupt,
    output::{Output, Talk},
    report::json,
    settings::{agreed::DEFAULT_TIMEOUT, plugin::PluginArgs},
};

/// Runs `gputcp plugin list`.
///
/// # Errors
/// If there is no such plugin, or it fails.
pub fn list(args: &PluginListArgs, interrupt: &Interrupt, talk: Talk) -> Result<(), Failure> {
    // Nothing is under way that would have to be ended in good order.
    let _leave = interrupt.on_fire(|| leave(Failure::Interrupted.exit_code().into()));
    let asked = PluginArgs { plugin: Some(args.plugin.clone()), plugin_device: None };
    let Some(NetPlugin { plugin, versions, .. }) = NetPlugin::open(&asked, DEFAULT_TIMEOUT, talk)? else {
        return Err(Failure::Usage("name a plugin: its path, or its name as in NCCL_NET_PLUGIN".into()));
    };
    let listing = Listing::of(&plugin, versions);
    let text = if args.json { json::document(&listing) } else { listing.table() };
    Output { timeout: DEFAULT_TIMEOUT }.print(&text)
}

/// A plugin and its devices.
#[derive(Debug, Serialize, JsonSchema)]
struct Listing {
    schema: &'static str,
    /// The name that the plugin gives itself.
    name: String,
    library: String,
    /// The version of the interface that is spoken with it.
    version: u32,
    /// All that it has.
    versions: Vec<u32>,
    devices: Vec<Device>,
}

/// A device, as the plugin describes it.
#[derive(Debug, Serialize, JsonSchema)]
struct Device {
    index: usize,
    name: String,
    /// 10 000 where the plugin does not know, as NCCL takes it.
    speed_mbit: u32,
    pci_path: Option<String>,
    guid: u64,
    port: i32,
    /// The kinds of memory that it takes: host, cuda, dmabuf.
    pointers: Vec<&'static str>,
    max_receives: u32,
    max_connections: u32,
    latency_us: f32,
    /// The longest request, where the version says so.
    max_bytes: Option<u64>,
    device_type: String,
    device_version: i32,
    force_flush: bool,
    registration_is_global: bool,
}

impl Listing {
    fn of(plugin: &Plugin, versions: Vec<u32>) -> Self {
        Self {
            schema: "gputcp.plugin-list/1",
            name: plugin.name().into(),
            library: plugin.library().into(),
            version: plugin.version(),
            versions,
            devices: plugin.devices().iter().map(Device::of).collect(),
        }
    }

    /// Returns the listing as aligned columns behind a head of comments.
    fn table(&self) -> String {
        let versions: Vec<String> = self.versions.iter().map(|version| format!("v{version}")).collect();
        let head = format!(
            "# plugin {} from {}, spoken to by v{} of the interface (it has {})\n",
            self.name,
            self.library,
            self.version,
            versions.join(", ")
        );
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["#", "name", "Gb/s", "pointers", "recvs", "comms", "type", "PCI path"]);
        for device in &self.devices {
            table.add_row(device.row());
        }
        // Without the space before the first column and those that fill the last.
        let lines = table.to_string();
        let lines =
            lines.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned() + "\n");
        head + &lines.collect::<String>()
    }
}

impl Device {
    fn of(device: &Properties) -> Self {
        let kinds = [(device.host, "host"), (device.cuda, "cuda"), (device.dma_buf, "dmabuf")];
        Self {
            index: device.index,
            name: device.name.clone(),
            speed_mbit: device.speed_mbit,
            pci_path: device.pci_path.clone(),
            guid: device.guid,
            port: device.port,
            pointers: kinds.into_iter().filter_map(|(takes, kind)| takes.then_some(kind)).collect(),
            max_receives: device.max_recvs,
            max_connections: device.max_comms,
            latency_us: device.latency_us,
            max_bytes: device.max_bytes,
            device_type: device.kind.to_string(),
            device_version: device.device_version,
            force_flush: device.force_flush,
            registration_is_global: device.reg_is_global,
        }
    }

    fn row(&self) -> [String; 8] {
        let speed = (f64::from(self.speed_mbit) / 1e3).to_string();
        [
            self.index.to_string(),
            self.name.clone(),
            speed,
            self.pointers.join("+"),
            self.max_receives.to_string(),
            self.max_connections.to_string(),
            self.device_type.clone(),
            self.pci_path.clone().unwrap_or_else(|| "-".into()),
        ]
    }
}
