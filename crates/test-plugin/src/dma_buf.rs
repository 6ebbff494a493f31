//! Memory that comes as a dma-buf: checks that a descriptor is one, and holds the bytes said to lie in it.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom},
    os::fd::{AsRawFd, BorrowedFd},
};

/// Checks the descriptor, which stays the host's.
///
/// # Errors
/// The fault, in words.
pub(crate) fn check(fd: BorrowedFd<'_>, offset: u64, bytes: u64) -> Result<(), String> {
    let number = fd.as_raw_fd();
    let path = fs::read_link(format!("/proc/self/fd/{number}"));
    let path = path.map_err(|error| format!("descriptor {number} is not open: {error}"))?;
    // The kernel's name of a dma-buf (Documentation/driver-api/dma-buf.rst; `dmabuffs_dname` in
    // drivers/dma-buf/dma-buf.c).
    if !path.to_string_lossy().starts_with("/dmabuf:") {
        return Err(format!("descriptor {number} is {}, no dma-buf", path.display()));
    }
    // User space learns the length by seeking to the end, by the same page.
    let length = fd.try_clone_to_owned().and_then(|fd| File::from(fd).seek(SeekFrom::End(0)));
    let length = length.map_err(|error| format!("the dma-buf does not tell its length: {error}"))?;
    match offset.checked_add(bytes) {
        Some(end) if end <= length => Ok(()),
        _ => Err(format!("{bytes} bytes at {offset} do not lie in a dma-buf of {length}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_file_is_no_dma_buf() {
        let file = File::open("/proc/self/exe").unwrap();
        let why = check(file.as_fd(), 0, 1).unwrap_err();
        assert!(why.ends_with("no dma-buf"), "{why}");
    }
}
