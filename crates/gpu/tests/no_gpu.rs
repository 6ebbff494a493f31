//! The crate on a machine without a GPU: every call gives a sentence, never a panic.
//!
//! The checks then say so, and succeed.

use std::process::Command;

use gputcp_gpu::{Device, Error, LaneSpec, MemoryKind, SoftOptions, measure};

#[test]
fn a_missing_gpu_is_a_sentence() {
    match Device::cuda("0") {
        Ok(device) => assert_eq!(device.kind(), MemoryKind::Cuda(0)),
        Err(error) => {
            assert!(matches!(error, Error::NoGpu { .. } | Error::UnknownGpu { .. }), "{error}");
            assert_eq!(Device::count(), 0);
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
    assert!(Device::cuda("no such thing").is_err());
}

#[test]
fn kinds_read_as_they_are_written_elsewhere() {
    assert_eq!(MemoryKind::Cuda(3).to_string(), "cuda:3");
    assert_eq!(format!("{:>8}", MemoryKind::Cuda(3)), "  cuda:3");
}

#[test]
fn the_software_gpu_is_no_real_one() {
    let soft = Device::soft(SoftOptions::default());
    assert!(soft.cuda_device().is_none());
    assert_eq!(soft.pinned(10).unwrap().kind(), MemoryKind::Host);
    let spec = LaneSpec::NO_SLABS;
    assert!(measure::lane_with_kernel_marks(&soft, spec).is_err());
    assert!(measure::lose_gpu(&mut soft.lane(spec).unwrap()).is_err());
}

#[test]
fn scattered_pages_are_a_permutation() {
    let pages = measure::scattered_pages(64 << 20, 4096);
    let mut sources: Vec<_> = pages.iter().map(|page| page.source_offset).collect();
    sources.sort_unstable();
    assert!(sources.iter().enumerate().all(|(i, &source)| source == i as u64 * 4096));
}

/// Without a GPU the checks only report that; with one, they run.
#[test]
fn the_checks_pass_or_say_why_they_were_skipped() {
    let output = Command::new(env!("CARGO_BIN_EXE_gpu-check")).arg("--quick").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(
        text.starts_with("skipped: no device (no GPU can be used: ") || text.contains(" 0 failed"),
        "{text}"
    );
}

fn soak(args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gpu-check"))
        .args(["--soft", "--soak", "1", "--seed", "7"])
        .args(args)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_soak_verifies_every_byte_and_finds_a_wrong_one() {
    let (passed, text) = soak(&[]);
    assert!(passed && text.contains(", every byte verified"), "{text}");
    let (passed, text) = soak(&["--damage", "9"]);
    assert!(!passed && text.contains("seed 9: "), "{text}");
    assert!(text.contains("wrong_bytes: 1") && text.contains("--soak 1 --seed 9"), "{text}");
}
