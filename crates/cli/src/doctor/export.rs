//! `gputcp doctor --nccl`: the lines that make NCCL use the plugin on this machine, for `eval`.
//! Explanations stand behind `#`; a shell that runs all lines does what the reader of them expects.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::{interfaces::Interfaces, limits::Limits, plugin, quoted};

/// The facts that the lines depend on.
#[derive(Debug, Clone, Default)]
pub struct Export {
    /// The plugin's file, if it lies beside the command.
    pub plugin: Option<PathBuf>,
    /// The interfaces.
    pub interfaces: Interfaces,
    /// The limits.
    pub limits: Limits,
    /// The value of `NCCL_TUNER_PLUGIN`, if it is set.
    pub tuner: Option<OsString>,
    /// Whether `NCCL_SOCKET_IFNAME` says which interfaces to use.
    pub names_interfaces: bool,
    /// Whether `GPUTCP_SPEED` says how fast they are.
    pub names_speed: bool,
    /// The plugin's reading of the environment.
    pub answer: Option<plugin::Answer>,
}

impl Export {
    /// Collects the facts.
    #[must_use]
    pub fn look() -> Self {
        let plugin = beside_or_packaged(&FILES);
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            answer: plugin.as_deref().and_then(plugin::ask),
            names_interfaces: is_set("NCCL_SOCKET_IFNAME"),
            names_speed: is_set("GPUTCP_SPEED"),
            plugin,
            interfaces: Interfaces::look(),
            limits: Limits::look(),
            tuner: env::var_os("NCCL_TUNER_PLUGIN"),
        }
    }

    /// Returns the lines.
    #[must_use]
    pub fn lines(&self) -> String {
        let mut text = format!(
            "# gputcp {}, for NCCL; use it with: eval \"$(gputcp doctor --nccl)\"\n",
            env!("CARGO_PKG_VERSION")
        );
        let mut say = |lines: &str| {
            let _ = writeln!(text, "{lines}");
        };
        match self.plugin.as_deref().and_then(Path::to_str) {
            Some(path) => say(&format!("export NCCL_NET_PLUGIN={}", quoted(path))),
            None => say(NO_FILE),
        }
        say(FOR_ALL);
        let outward: Vec<&str> = self.interfaces.outward().map(|interface| interface.name.as_str()).collect();
        let guests = self.interfaces.all.iter().any(|interface| {
            interface.leads_to_guests()
                && !PLUGIN_LEAVES_OUT.iter().any(|prefix| interface.name.starts_with(prefix))
        });
        if guests && !outward.is_empty() && !self.names_interfaces {
            say("# Some interfaces lead to guests of this machine: only the others are used.");
            say(&format!("export NCCL_SOCKET_IFNAME={}", quoted(&format!("={}", outward.join(",")))));
        }
        if !self.names_speed && self.interfaces.outward().any(|interface| interface.speed_mbit.is_none()) {
            say(NO_SPEED);
        }
        if self.tuner.as_ref().is_some_and(|tuner| !tuner.is_empty() && !is_ours(tuner)) {
            say(OTHER_TUNER);
        }
        if let Some(files) = self.limits.wanted_files() {
            say("# NCCL makes many connections, and each stream is a socket.");
            say(&format!("ulimit -n {files}"));
        }
        say(AS_THEY_ARE);
        match &self.answer {
            Some(Ok(devices)) => {
                say(&format!("# With the environment as it is, NCCL is told of {}.", devices.join(", ")));
            }
            Some(Err(why)) => say(&format!("# With the environment as it is, it does not start: {why}")),
            None => {}
        }
        text
    }
}

/// Returns the first of a library's files that is installed with this command.
pub(super) fn beside_or_packaged(files: &[&str]) -> Option<PathBuf> {
    let command = env::current_exe().ok()?;
    installed(command.parent()?, files)
}

/// Returns a library's file, under its own name or under Cargo's. It is beside the command in `folder`, or
/// among the libraries of the prefix, where a Debian package puts it.
fn installed(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    let libraries = folder.parent().map(|prefix| prefix.join("lib").join(LIBRARIES));
    let folders = [Some(folder.to_owned()), libraries];
    let mut files = folders.iter().flatten().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    files.find(|path| path.is_file())
}

/// Returns whether a tuner's name means the plugin's: its file, or a name that NCCL finds no other file
/// for.
fn is_ours(tuner: &OsStr) -> bool {
    let file = Path::new(tuner).file_name().and_then(OsStr::to_str);
    tuner == "gputcp" || file.is_some_and(|name| FILES.contains(&name))
}

const NO_FILE: &str = "\
# libnccl-net-gputcp.so is not beside the command, nor in its prefix: name its folder in LD_LIBRARY_PATH.
export NCCL_NET_PLUGIN=gputcp";
const FOR_ALL: &str = "\
# Without the next line NCCL goes on to another network if the plugin does not start.
export NCCL_NET=gputcp
# NCCL 2.28 cannot open a plugin again that it has closed with its last communicator: it is to stay.
export NCCL_NET_PLUGIN_REF_COUNT=1
# More channels are worth it where few ranks send much (between two H200: 2.5 times the rate of a send, 1.2
# times that of an all-reduce) and cost short messages some time. All ranks need the same:
# export NCCL_NCHANNELS_PER_NET_PEER=8 NCCL_MIN_P2P_NCHANNELS=8 NCCL_MIN_NCHANNELS=8";
const NO_SPEED: &str = "\
# The system does not know how fast some interface is. NCCL makes as many channels as the speed is worth, and is
# told that of the slowest that is known, or 100000 Mbit/s if none is; if that is wrong, say so:
# export GPUTCP_SPEED=25000";
const OTHER_TUNER: &str = "\
# NCCL_TUNER_PLUGIN means another tuner, or none: NCCL then does not ask the plugin which protocol collectives take.
# To let it ask: unset NCCL_TUNER_PLUGIN";
const AS_THEY_ARE: &str = "\
# Left as they are: GPUTCP_STREAMS (1; 2 from 16 cores on, 3 from 48, 4 from 64), GPUTCP_CONGESTION (the system's between machines),
# GPUTCP_SEGMENT. A shared key: export GPUTCP_KEY_FILE=/path/to/key on every machine (openssl rand -hex 32).";

/// The folder of this machine's libraries, as Debian names it on the architectures that have a package.
const LIBRARIES: &str = if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };
const FILES: [&str; 2] = ["libnccl-net-gputcp.so", "libnccl_net_gputcp.so"];
/// The interfaces that the plugin leaves out unless the user names interfaces.
const PLUGIN_LEAVES_OUT: [&str; 2] = ["docker", "virbr"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::interfaces::Interface;

    #[test]
    fn lines_for_a_machine_with_guests_and_low_limits() {
        let interface =
            |name: &str, speed_mbit| Interface { name: name.into(), speed_mbit, ..Interface::default() };
        let all = vec![interface("eth0", Some(10_000)), interface("eth1", None), interface("br-1a2b", None)];
        let export = Export {
            plugin: Some("/opt/it's here/libnccl-net-gputcp.so".into()),
            interfaces: Interfaces { all, ..Interfaces::default() },
            limits: Limits { files: (Some(1024), None), ..Limits::default() },
            answer: Some(Ok(vec!["eth0 at 10000 Mbit/s".into(), "eth1 at 10000 Mbit/s".into()])),
            ..Export::default()
        };
        insta::assert_snapshot!(export.lines());
        let set = Export { names_interfaces: true, names_speed: true, ..export };
        let lines = set.lines();
        assert!(!lines.contains("GPUTCP_SPEED") && !lines.contains("NCCL_SOCKET_IFNAME"), "{lines}");
        let refused = Export { answer: Some(Err("no".into())), ..set };
        assert!(refused.lines().ends_with("# With the environment as it is, it does not start: no\n"));
    }

    #[test]
    fn another_tuner_is_told_of_and_not_repeated() {
        let said = |tuner: &str| Export { tuner: Some(tuner.into()), ..Export::default() }.lines();
        let (none, told) = (Export::default().lines(), format!("{OTHER_TUNER}\n"));
        for ours in ["", "gputcp", "/opt/libnccl-net-gputcp.so"] {
            assert_eq!(said(ours), none, "{ours}");
        }
        for other in ["none", "ofi", "/opt/gputcp", "x\nexport PATH="] {
            assert_eq!(said(other).replace(&told, ""), none, "{other}");
            assert!(said(other).contains(&told), "{other}");
        }
    }

    #[test]
    fn the_plugin_is_beside_the_command_or_where_a_package_puts_it() {
        let root = env::temp_dir().join(format!("gputcp-doctor-{}", std::process::id()));
        let (commands, libraries) = (root.join("bin"), root.join("lib").join(LIBRARIES));
        std::fs::create_dir_all(&commands).unwrap();
        std::fs::create_dir_all(&libraries).unwrap();
        assert_eq!(installed(&commands, &FILES), None);
        let packaged = libraries.join(FILES[0]);
        std::fs::write(&packaged, "").unwrap();
        assert_eq!(installed(&commands, &FILES), Some(packaged));
        let beside = commands.join(FILES[1]);
        std::fs::write(&beside, "").unwrap();
        assert_eq!(installed(&commands, &FILES), Some(beside));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn every_line_is_a_comment_an_export_or_a_limit() {
        for line in Export::look().lines().lines() {
            let known = ["#", "export NCCL_", "export GPUTCP_", "ulimit -n "];
            assert!(known.iter().any(|start| line.starts_with(start)), "{line}");
        }
    }
}
