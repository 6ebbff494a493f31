//! The plugin's reading of the present environment. It is asked in a process of its own, as NCCL's would be
//! one: the plugin reads its variables once.

use std::{
    env,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::printable::printable;

/// Its devices, as `eth0 at 25000 Mbit/s`; or why it does not start.
pub type Answer = Result<Vec<String>, String>;

/// Has `gputcp plugin list` ask it. None if that cannot be run.
#[must_use]
pub fn ask(plugin: &Path) -> Option<Answer> {
    let mut command = Command::new(env::current_exe().ok()?);
    command.args(["plugin", "list", "--quiet", "--json"]).arg(plugin);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.ok()?;
    let until = Instant::now() + TIMEOUT;
    // A list of devices, or a sentence: both are shorter than a pipe is long.
    while child.try_wait().ok()?.is_none() {
        if Instant::now() >= until {
            child.kill().ok()?;
            child.wait().ok()?;
            return Some(Err(format!("it was stuck for {} s", TIMEOUT.as_secs())));
        }
        thread::sleep(Duration::from_millis(5));
    }
    let (mut listing, mut error) = (String::new(), String::new());
    child.stdout.take()?.read_to_string(&mut listing).ok()?;
    child.stderr.take()?.read_to_string(&mut error).ok()?;
    devices(&listing).map(Ok).or_else(|| Some(Err(printable(error.trim().trim_start_matches("gputcp: ")))))
}

/// Returns the devices of a listing.
fn devices(listing: &str) -> Option<Vec<String>> {
    let listing: Value = serde_json::from_str(listing).ok()?;
    let devices = listing["devices"].as_array()?.iter();
    devices
        .map(|device| {
            let (name, speed) = (device["name"].as_str()?, device["speed_mbit"].as_u64()?);
            Some(format!("{} at {speed} Mbit/s", printable(name)))
        })
        .collect()
}

const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_with_their_speed() {
        let listing =
            r#"{"devices":[{"name":"eth0","speed_mbit":25000},{"name":"a\u001bb","speed_mbit":1}]}"#;
        let found = devices(listing).unwrap();
        assert_eq!(found[0], "eth0 at 25000 Mbit/s");
        assert!(!found[1].contains('\u{1b}'), "{found:?}");
        for bad in ["", "{}", r#"{"devices":[{}]}"#] {
            assert!(devices(bad).is_none(), "{bad}");
        }
    }
}
