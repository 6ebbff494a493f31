//! The reasons for which a side of a check ends before its last step.

/// The reason why a side stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The plugin does not meet the demand: the evidence.
    Failed(String),
    /// The plugin does not meet the demand, and NCCL does not make it here: the evidence.
    Stricter(String),
    /// The check does not apply: the reason.
    Skipped(String),
    /// The other side said nothing in time. Its own end tells the cause.
    Unheard,
    /// The other side has stopped, and tells the reason itself.
    Alone,
}

impl Stop {
    /// Puts words around the evidence, if there is any.
    pub(crate) fn told(self, words: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Failed(seen) => Self::Failed(words(seen)),
            Self::Stricter(seen) => Self::Stricter(words(seen)),
            Self::Skipped(_) | Self::Unheard | Self::Alone => self,
        }
    }
}

/// Stops with a demand that is not met.
pub(crate) fn fail<T>(seen: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(seen.into()))
}

/// Stops with a demand that is not met and goes beyond NCCL's.
pub(crate) fn stricter<T>(seen: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Stricter(seen.into()))
}

/// Stops a check that does not apply.
pub(crate) fn skip<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skipped(why.into()))
}

/// A side's evidence that the plugin meets the demand, in words, or the reason why the side stopped.
pub(crate) type Seen = Result<String, Stop>;
