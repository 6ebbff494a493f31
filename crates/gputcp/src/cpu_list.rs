//! Lists of cores and of NUMA nodes as the kernel writes them.

use std::ops::RangeInclusive;

/// A list like `0-3,8,10-11` (the kernel's cpulist format); an empty text is an empty list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuList(Vec<RangeInclusive<usize>>);

impl CpuList {
    /// Reads a list. Returns `None` if the text is none, or names more than can be counted.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        let range = |range: &str| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
            (from <= to).then_some(from..=to)
        };
        let list = Self(text.split(',').map(range).collect::<Option<_>>()?);
        list.checked_count().map(|_| list)
    }

    /// Returns how many numbers the list has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.checked_count().unwrap_or(usize::MAX)
    }

    /// Returns the numbers in their order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().cloned().flatten()
    }

    fn checked_count(&self) -> Option<usize> {
        let count = |range: &RangeInclusive<usize>| (range.end() - range.start()).checked_add(1);
        self.0.iter().try_fold(0, |sum: usize, range| sum.checked_add(count(range)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_the_kernel_writes_them() {
        let numbers = |text| CpuList::parse(text).map(|list| list.iter().collect::<Vec<_>>());
        assert_eq!(numbers("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(numbers("7"), Some(vec![7]));
        assert_eq!(numbers("\n"), Some(Vec::new()));
        for bad in [
            "1-",
            "a",
            "1,,2",
            "-3",
            "3-1",
            "0-18446744073709551615",
            "1-9223372036854775808,0-9223372036854775807",
        ] {
            assert_eq!(CpuList::parse(bad), None, "{bad:?}");
        }
        for (text, count) in [("0", 1), ("0-3,8\n", 5), ("", 0)] {
            assert_eq!(CpuList::parse(text).unwrap().count(), count, "{text}");
        }
    }
}
