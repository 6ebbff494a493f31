//! Result codes (`ncclResult_t`).

use std::{ffi::c_int, fmt};

/// The reason why a function of the interface failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum ResultCode {
    /// A CUDA call failed (`ncclUnhandledCudaError`).
    Cuda = 1,
    /// The system refused something, or a socket failed (`ncclSystemError`).
    System = 2,
    /// The plugin has an error (`ncclInternalError`).
    Internal = 3,
    /// An argument makes no sense (`ncclInvalidArgument`).
    InvalidArgument = 4,
    /// The call is not allowed now (`ncclInvalidUsage`).
    InvalidUsage = 5,
    /// The other side failed (`ncclRemoteError`).
    Remote = 6,
    /// Not finished (`ncclInProgress`), which no plugin may answer.
    InProgress = 7,
}

impl ResultCode {
    /// The code of success (`ncclSuccess`).
    pub const SUCCESS: c_int = 0;

    /// Returns the meaning of a number that is not [`Self::SUCCESS`], if it has one.
    #[must_use]
    pub const fn of(number: c_int) -> Option<Self> {
        Some(match number {
            1 => Self::Cuda,
            2 => Self::System,
            3 => Self::Internal,
            4 => Self::InvalidArgument,
            5 => Self::InvalidUsage,
            6 => Self::Remote,
            7 => Self::InProgress,
            _ => return None,
        })
    }

    /// Returns the code's number.
    #[must_use]
    pub const fn number(self) -> c_int {
        self as c_int
    }

    /// Returns the code's name in nccl.h.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cuda => "ncclUnhandledCudaError",
            Self::System => "ncclSystemError",
            Self::Internal => "ncclInternalError",
            Self::InvalidArgument => "ncclInvalidArgument",
            Self::InvalidUsage => "ncclInvalidUsage",
            Self::Remote => "ncclRemoteError",
            Self::InProgress => "ncclInProgress",
        }
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_one_to_one() {
        for number in 1..=7 {
            assert_eq!(ResultCode::of(number).unwrap().number(), number);
        }
        for number in [0, -1, 8, c_int::MIN, c_int::MAX] {
            assert_eq!(ResultCode::of(number), None);
        }
    }
}
