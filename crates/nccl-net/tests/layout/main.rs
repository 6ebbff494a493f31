//! Sizes and offsets, against the figures of the interface and against a C compiler where there is one.
//!
//! The compiler reads `facts.h`, our own words for the facts of NCCL's headers. With `GPUTCP_NCCL_INCLUDE`
//! set to a folder with NCCL's own headers, it reads `net.h` from there instead. That folder is
//! `plugins/net/example/nccl` in NCCL's repository. `GPUTCP_NCCL_TUNER_INCLUDE` (`src/include/plugin/tuner`)
//! does the same for `tuner.h`.

mod compiler;
mod list;

use list::{Layout, net_layouts, tuner_layouts};

#[test]
fn sizes_are_those_of_the_interface() {
    let size = |name: &str| found(name).size;
    for (version, net, properties) in [
        (12, 176, 128),
        (11, 176, 112),
        (10, 160, 104),
        (9, 160, 104),
        (8, 152, 64),
        (7, 152, 56),
        (6, 136, 48),
        (5, 128, 48),
    ] {
        assert_eq!(size(&format!("ncclNet_v{version}_t")), net, "v{version}");
        assert_eq!(size(&format!("ncclNetProperties_v{version}_t")), properties, "v{version}");
    }
    for (version, tuner) in [(3, 32), (4, 32), (5, 32), (6, 40)] {
        assert_eq!(size(&format!("ncclTuner_v{version}_t")), tuner, "v{version}");
    }
    assert_eq!(size("ncclNetDeviceHandle_v7_t"), 32);
    assert_eq!(size("ncclNetAttr_v11_t"), 44);
    assert_eq!(size("ncclNetCommConfig_v11_t"), 4);
    assert_eq!((size("loadMeta"), size("netUnpackMeta"), size("unpackNetDeviceHandle")), (16, 524_416, 24));
    use gputcp_nccl_net::layout::{device::DeviceHandleStorage, unpack::LoadMeta};
    assert_eq!((size_of::<DeviceHandleStorage>(), align_of::<DeviceHandleStorage>()), (512, 16));
    assert_eq!(align_of::<LoadMeta>(), 16);
}

#[test]
fn offsets_are_those_of_the_interface() {
    let offset = |name: &str, field: &str| {
        let layout = found(name);
        layout.fields.iter().find(|(name, _)| *name == field).unwrap_or_else(|| panic!("{name}.{field}")).1
    };
    for (version, fields) in [
        (
            11,
            [("vProps", 64), ("maxP2pBytes", 88), ("maxCollBytes", 96), ("maxMultiRequestSize", 104)]
                .as_slice(),
        ),
        (
            12,
            [
                ("vProps", 64),
                ("maxP2pBytes", 104),
                ("maxMultiRequestSize", 120),
                ("railId", 124),
                ("planeId", 126),
            ]
            .as_slice(),
        ),
    ] {
        for (field, at) in fields {
            assert_eq!(offset(&format!("ncclNetProperties_v{version}_t"), field), *at, "v{version} {field}");
        }
    }
    assert_eq!(offset("netUnpackMeta", "cnt"), 524_288);
    // A function is found by its place: one too many or too few before it, and another is called.
    for (version, field, place) in [
        (5, "closeListen", 15),
        (6, "regMrDmaBuf", 8),
        (7, "irecvConsumed", 18),
        (10, "makeVDevice", 19),
        (12, "setNetAttr", 21),
    ] {
        assert_eq!(offset(&format!("ncclNet_v{version}_t"), field), 8 * place, "v{version} {field}");
    }
    for (version, field, place) in
        [(3, "destroy", 3), (4, "getCollInfo", 2), (5, "finalize", 3), (6, "getChunkSize", 4)]
    {
        assert_eq!(offset(&format!("ncclTuner_v{version}_t"), field), 8 * place, "v{version} {field}");
    }
}

#[test]
fn a_c_compiler_agrees() {
    compiler::compare_net(&net_layouts());
    compiler::compare_tuner(&tuner_layouts());
}

fn found(name: &str) -> Layout {
    let mut all = net_layouts().into_iter().chain(tuner_layouts());
    all.find(|layout| layout.name == name).unwrap_or_else(|| panic!("no {name}"))
}
