//! `gputcp doctor --nixl`: the lines that make NIXL use the backend GPUTCP on this machine, for `eval`; which
//! backends there are; and what UCX would do here.
//!
//! Explanations stand behind `#`; a shell that runs all lines does what the reader of them expects.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{export::beside_or_packaged, interfaces::Interfaces, quoted};
use crate::printable::printable;

/// The facts that the lines depend on.
#[derive(Debug, Clone, Default)]
pub struct Nixl {
    /// The backend's file, if it lies beside the command.
    pub backend: Option<PathBuf>,
    /// `NIXL_PLUGIN_DIR`, if it is set, and the backends there.
    pub folder: Option<(String, Vec<String>)>,
    /// The wheels of NIXL that `python3` finds.
    pub wheels: Vec<Wheel>,
    /// The RDMA devices.
    pub rdma: Vec<String>,
    /// Variables of UCX that are set, by name.
    pub ucx: Vec<(String, String)>,
    /// The interfaces.
    pub interfaces: Interfaces,
    /// Whether `GPUTCP_INTERFACE` or `GPUTCP_ADDRESS` says where to listen.
    pub names_interface: bool,
}

/// A wheel of NIXL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wheel {
    /// The package and its version, as `nixl-cu12 1.5.1`.
    pub name: String,
    /// Whether it is older than 1.0.
    pub is_old: bool,
    /// The folder of its backends.
    pub folder: String,
    /// The backends.
    pub backends: Vec<String>,
}

impl Nixl {
    /// Collects the facts.
    #[must_use]
    pub fn look() -> Self {
        let folder = env::var_os("NIXL_PLUGIN_DIR").filter(|value| !value.is_empty()).map(PathBuf::from);
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let ucx = ["UCX_TLS", "UCX_NET_DEVICES", "UCX_RMA_PPLN_ENABLE"];
        let ucx = ucx.iter().filter_map(|name| Some(((*name).into(), printable(&env::var(name).ok()?))));
        let devices = fs::read_dir("/sys/class/infiniband").into_iter().flatten().flatten();
        let mut rdma: Vec<_> = devices.map(|entry| printable(&entry.file_name().to_string_lossy())).collect();
        rdma.sort();
        Self {
            backend: beside_or_packaged(&[FILE]),
            folder: folder.map(|folder| (shown(&folder), backends(&folder))),
            wheels: python_folders().iter().flat_map(|folder| wheels(folder)).collect(),
            rdma,
            ucx: ucx.collect(),
            interfaces: Interfaces::look(),
            names_interface: is_set("GPUTCP_INTERFACE") || is_set("GPUTCP_ADDRESS"),
        }
    }

    /// Returns the lines.
    #[must_use]
    pub fn lines(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let mut text =
            format!("# gputcp {version}, for NIXL; use it with: eval \"$(gputcp doctor --nixl)\"\n");
        let mut say = |line: String| _ = writeln!(text, "{line}");
        for Wheel { name, is_old, folder, backends } in &self.wheels {
            say(format!("# {name} has the backends {} in {folder}.", list(backends)));
            if *is_old {
                say("# It is too old for the backend GPUTCP, which needs NIXL 1.0 or later.".into());
            }
        }
        if self.wheels.is_empty() {
            say("# python3 finds no NIXL here: pip install nixl-cu12 (or nixl-cu13).".into());
        }
        self.say_backend(&mut say);
        let outward: Vec<_> = self.interfaces.outward().collect();
        let guests = self.interfaces.all.iter().any(super::interfaces::Interface::leads_to_guests);
        if guests && !self.names_interface {
            // Of several that are as fast, the first.
            let fastest = outward.iter().rev().max_by_key(|interface| interface.speed_mbit);
            if let Some(fastest) = fastest {
                say("# Some interfaces lead to guests of this machine: this one leads to others.".into());
                say(format!("export GPUTCP_INTERFACE={}", quoted(&format!("={}", fastest.name))));
            }
        }
        say(SELECT.into());
        say(self.ucx_would());
        for (name, value) in &self.ucx {
            say(format!("# UCX is told {name}={value}; the backend GPUTCP does not read it."));
        }
        text
    }

    fn say_backend(&self, say: &mut impl FnMut(String)) {
        let found = self.folder.as_ref().filter(|(_, backends)| backends.iter().any(|name| name == NAME));
        let placed = self.wheels.iter().find(|wheel| wheel.backends.iter().any(|name| name == NAME));
        if let Some((folder, backends)) = found {
            say(format!("# NIXL_PLUGIN_DIR is {folder}, with the backends {}.", list(backends)));
            return;
        }
        if let (None, Some(Wheel { name, .. })) = (&self.folder, placed) {
            say(format!("# {name} finds the backend GPUTCP in its own folder."));
            return;
        }
        if let Some((folder, backends)) = &self.folder {
            say(format!("# NIXL_PLUGIN_DIR is {folder}, with {}, and without GPUTCP.", list(backends)));
        }
        match self.backend.as_deref().and_then(|path| Some((path.to_str()?, path.parent()?.to_str()?))) {
            Some((file, folder)) => {
                say("# With the next line NIXL finds no backends but those of this folder.".into());
                say(format!("export NIXL_PLUGIN_DIR={}", quoted(folder)));
                if let Some(Wheel { folder, .. }) = self.wheels.first() {
                    say("# To keep its own beside it, instead of the line above:".into());
                    say(format!("# ln -s {} {}", quoted(file), quoted(folder)));
                }
            }
            None => say(format!("# {FILE} is not beside the command: name its folder in NIXL_PLUGIN_DIR.")),
        }
    }

    /// Returns the sentence about UCX.
    fn ucx_would(&self) -> String {
        if self.rdma.is_empty() {
            return "# UCX finds no RDMA device here: between machines it uses TCP, within one shared memory.".into();
        }
        let devices = self.rdma.join(", ");
        format!("# UCX finds the RDMA devices {devices} here: where both ends have some, try it first.")
    }
}

/// Returns names with commas, or a word for none.
fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// Returns the backends of a folder, by name.
fn backends(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| {
        let file = entry.file_name().into_string().ok()?;
        Some(printable(file.strip_prefix("libplugin_")?.strip_suffix(".so")?))
    };
    let mut names: Vec<_> = entries.filter_map(name).collect();
    names.sort();
    names
}

/// Returns the wheels of NIXL in one of Python's folders.
fn wheels(folder: &Path) -> Vec<Wheel> {
    let one = |package: &str| {
        let libraries = folder.join(format!(".{package}.mesonpy.libs/plugins"));
        let known = fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let version = file.strip_prefix(package)?.strip_prefix('-')?.strip_suffix(".dist-info")?;
            Some(printable(version))
        })?;
        Some(Wheel {
            name: format!("{} {known}", package.replace('_', "-")),
            is_old: known.starts_with("0."),
            folder: shown(&libraries),
            backends: backends(&libraries),
        })
    };
    ["nixl_cu12", "nixl_cu13"].into_iter().filter_map(one).collect()
}

/// Returns the folders in which `python3` looks for packages; none if it does not answer in time.
fn python_folders() -> Vec<PathBuf> {
    let mut python = Command::new("python3");
    python.args(["-c", "import sys; print('\\n'.join(path for path in sys.path if path))"]);
    let child = python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = child else { return Vec::new() };
    let until = Instant::now() + TIMEOUT;
    // The folders are shorter than a pipe is long.
    while let Ok(None) = child.try_wait() {
        if Instant::now() >= until {
            let _ = child.kill();
            let _ = child.wait();
            return Vec::new();
        }
        thread::sleep(Duration::from_millis(5));
    }
    let mut text = String::new();
    if let Some(mut said) = child.stdout.take() {
        // Other bytes than text name no folder that can be shown.
        let _ = said.read_to_string(&mut text);
    }
    text.lines().map(PathBuf::from).collect()
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

const NAME: &str = "GPUTCP";
const FILE: &str = "libplugin_GPUTCP.so";
const SELECT: &str = "\
# The program selects it by name, at both ends. vLLM: kv_connector_extra_config {\"backends\": [\"GPUTCP\"]};
# export SGLANG_DISAGGREGATION_NIXL_BACKEND=GPUTCP
# export TRTLLM_NIXL_KVCACHE_BACKEND=GPUTCP
# Left as they are: GPUTCP_STREAMS (the cores, at most 8), GPUTCP_PORT (any; else the first of 64 that is free),
# GPUTCP_TIMEOUT (30). A shared key: export GPUTCP_KEY_FILE=/path/to/key on every machine (openssl rand -hex 32).";
const TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::interfaces::Interface;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    fn machine() -> Nixl {
        let interface =
            |name: &str, speed_mbit| Interface { name: name.into(), speed_mbit, ..Interface::default() };
        let all = vec![
            interface("eth0", Some(10_000)),
            interface("eth1", Some(100_000)),
            interface("br-1a2b", None),
        ];
        Nixl {
            backend: Some("/opt/it's here/libplugin_GPUTCP.so".into()),
            wheels: vec![Wheel {
                name: "nixl-cu12 1.5.1".into(),
                is_old: false,
                folder: "/site/.nixl_cu12.mesonpy.libs/plugins".into(),
                backends: names(&["POSIX", "UCX"]),
            }],
            ucx: vec![("UCX_TLS".into(), "tcp".into())],
            interfaces: Interfaces { all, ..Interfaces::default() },
            ..Nixl::default()
        }
    }

    #[test]
    fn lines_for_a_machine_with_a_wheel_and_guests() {
        insta::assert_snapshot!(machine().lines());
    }

    #[test]
    fn a_backend_that_nixl_finds_needs_no_line() {
        let folder = Some(("/plugins".into(), names(&["GPUTCP"])));
        let found = Nixl { folder, ..machine() }.lines();
        assert!(
            !found.contains("export NIXL_PLUGIN_DIR") && found.contains("is /plugins, with the"),
            "{found}"
        );
        let mut placed = machine();
        placed.wheels[0].backends.push("GPUTCP".into());
        let placed = placed.lines();
        assert!(!placed.contains("export NIXL_PLUGIN_DIR"), "{placed}");
        assert!(placed.contains("in its own folder"), "{placed}");
        let folder = Some(("/plugins".into(), names(&["UCX"])));
        let lacking = Nixl { folder, ..machine() }.lines();
        assert!(
            lacking.contains("with UCX, and without GPUTCP.") && lacking.contains("export NIXL_"),
            "{lacking}"
        );
        let old = Wheel { is_old: true, ..Wheel::default() };
        assert!(Nixl { wheels: vec![old], ..machine() }.lines().contains("too old"));
    }

    #[test]
    fn wheels_are_found_in_pythons_folders() {
        let root = env::temp_dir().join(format!("gputcp-doctor-nixl-{}", std::process::id()));
        let plugins = root.join(".nixl_cu12.mesonpy.libs/plugins");
        fs::create_dir_all(&plugins).unwrap();
        assert_eq!(wheels(&root), []);
        fs::create_dir_all(root.join("nixl_cu12-0.10.1.dist-info")).unwrap();
        for file in ["libplugin_UCX.so", "libplugin_POSIX.so", "libother.so"] {
            fs::write(plugins.join(file), "").unwrap();
        }
        let found = wheels(&root);
        assert_eq!((found[0].name.as_str(), found[0].is_old), ("nixl-cu12 0.10.1", true));
        assert_eq!(found[0].backends, ["POSIX", "UCX"]);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn every_line_is_a_comment_or_an_export() {
        for line in Nixl::look().lines().lines() {
            let known = ["#", "export NIXL_PLUGIN_DIR=", "export GPUTCP_"];
            assert!(known.iter().any(|start| line.starts_with(start)), "{line}");
        }
    }
}
