//! How a side of a check ends before its end.

/// Why a side stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The demand is not met: what was seen.
    Failed(String),
    /// The demand is not met, and NCCL does not make it here: what was seen.
    Stricter(String),
    /// The check does not apply: why.
    Skipped(String),
    /// The other side said nothing in time. Its own end tells the cause.
    Unheard,
    /// The other side has stopped, and tells why itself.
    Alone,
}

impl Stop {
    /// Puts words around what was seen, if anything was.
    pub(crate) fn told(self, words: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Failed(seen) => Self::Failed(words(seen)),
            Self::Stricter(seen) => Self::Stricter(words(seen)),
            Self::Skipped(_) | Self::Unheard | Self::Alone => self,
        }
    }
}

/// The demand is not met.
pub(crate) fn fail<T>(seen: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(seen.into()))
}

/// The demand is not met, and goes beyond NCCL's.
pub(crate) fn stricter<T>(seen: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Stricter(seen.into()))
}

/// The check does not apply.
pub(crate) fn skip<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skipped(why.into()))
}

/// What a side saw that meets the demand, in words.
pub(crate) type Seen = Result<String, Stop>;
