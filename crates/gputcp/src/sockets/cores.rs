//! The cores near a GPU. On a machine of several NUMA nodes, a connection's own I/O threads stay on the GPU's
//! node. Its rings are made there too: memory lies where it is touched first, so neither copy nor DMA crosses
//! to another socket.
//!
//! The scheduler chooses the cores where the machine shows no node, one node, or no core of it that may be
//! used.

use std::{fs, path::Path, thread};

use gputcp_gpu::Device;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::{CpuList, Error, Result};

/// Returns the cores that I/O threads for this device should run on; `None` if it makes no difference.
pub(crate) fn near(device: Option<&Device>) -> Option<CpuSet> {
    let node = device?.cuda_device()?.numa_node?;
    of_node(node, Path::new("/sys/devices/system/node"))
}

/// Keeps the calling thread near this device, where a connection's own I/O threads run. A measurement that
/// compares itself with a connection calls it.
pub fn set_numa_affinity(device: &Device) {
    stay(near(Some(device)).as_ref());
}

/// Makes a value near this device, where a connection's rings are made. A measurement that compares itself
/// with a connection calls it. A thread of its own makes the value there, if that makes a difference.
///
/// # Errors
/// If the system has no thread left.
pub fn with_numa_affinity<T: Send>(device: &Device, make: impl FnOnce() -> T + Send) -> Result<T> {
    make_on(near(Some(device)).as_ref(), make)
}

/// Makes a value on these cores: its memory lies where it is touched first.
pub(crate) fn make_on<T: Send>(near: Option<&CpuSet>, make: impl FnOnce() -> T + Send) -> Result<T> {
    if near.is_none() {
        return Ok(make());
    }
    thread::scope(|scope| {
        let there = move || {
            stay(near);
            make()
        };
        let maker = thread::Builder::new().name("make".into()).spawn_scoped(scope, there);
        let maker = maker.map_err(|error| Error::system("start a thread near the GPU", error))?;
        maker.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}

/// Keeps the calling thread on these cores.
pub(crate) fn stay(near: Option<&CpuSet>) {
    if let Some(near) = near {
        // A hint: a thread without the permission runs elsewhere, slower.
        let _ = sched_setaffinity(None, near);
    }
}

/// Returns the cores of a node, as far as this process may use them; `None` if they make no difference.
fn of_node(node: u32, nodes: &Path) -> Option<CpuSet> {
    let list = |file: String| CpuList::parse(&fs::read_to_string(nodes.join(file)).ok()?);
    if list("online".into())?.count() < 2 {
        return None;
    }
    let cores = list(format!("node{node}/cpulist"))?;
    let allowed = sched_getaffinity(None).ok()?;
    let mut near = CpuSet::new();
    for core in cores.iter().take_while(|&core| core < CpuSet::MAX_CPU) {
        if allowed.is_set(core) {
            near.set(core);
        }
    }
    (near.count() > 0 && near.count() < allowed.count()).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_near_is_made_there_and_the_maker_stays_where_it_is() {
        let allowed = sched_getaffinity(None).unwrap();
        let first = (0..CpuSet::MAX_CPU).find(|&core| allowed.is_set(core)).unwrap();
        let mut near = CpuSet::new();
        near.set(first);
        let made = make_on(Some(&near), || sched_getaffinity(None).unwrap()).unwrap();
        assert!(made.count() == 1 && made.is_set(first), "{made:?}");
        assert_eq!(sched_getaffinity(None).unwrap().count(), allowed.count());
        let here = thread::current().id();
        assert_eq!(
            make_on(None, || thread::current().id()).unwrap(),
            here,
            "no thread where it makes no difference"
        );
    }

    #[test]
    fn the_cores_of_one_node_of_two_are_near_and_of_the_only_one_are_not() {
        let allowed = sched_getaffinity(None).unwrap();
        let first = (0..CpuSet::MAX_CPU).find(|&core| allowed.is_set(core)).unwrap();
        let nodes = std::env::temp_dir().join(format!("gputcp-nodes-{}", std::process::id()));
        fs::create_dir_all(nodes.join("node1")).unwrap();
        let write = |file: &str, text: &str| fs::write(nodes.join(file), text).unwrap();
        write("node1/cpulist", &format!("{first}\n"));
        write("online", "0-1\n");
        let near = of_node(1, &nodes);
        // A machine of one core has nothing to choose.
        assert_eq!(near.map(|near| near.count()), (allowed.count() > 1).then_some(1));
        assert!(near.is_none_or(|near| near.is_set(first)));
        assert!(of_node(0, &nodes).is_none(), "a node that is not shown");
        write("node1/cpulist", "1022-1023,99999999\n");
        assert!(of_node(1, &nodes).is_none() || allowed.is_set(1022), "none of its cores is ours");
        write("online", "1\n");
        write("node1/cpulist", &format!("{first}\n"));
        assert!(of_node(1, &nodes).is_none());
        fs::remove_dir_all(&nodes).unwrap();
    }
}
