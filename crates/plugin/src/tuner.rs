//! NCCL's choices for collectives over this network.
//!
//! NCCL's own costs are those of networks that answer in a few microseconds. It takes the protocol LL for
//! messages that this network carries better in whole pieces. LL sends twice the bytes, LL128 a fifteenth
//! more, and both send many small pieces.
//!
//! All ranks of a communicator must choose alike. So a choice depends on data that all of them share: the
//! communicator, the message, and NCCL's costs.

use std::{ffi::c_int, fmt};

use gputcp_nccl_net::layout::tuner::{PROTO_LL, PROTO_LL128, PROTO_SIMPLE};

/// The tuner of one communicator.
#[derive(Debug)]
pub(crate) struct Tuner {
    ranks: usize,
    nodes: usize,
    part: Part,
}

/// Whether the tuner takes part in NCCL's choices, or the reason why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Takes,
    SwitchedOff,
    OtherNetwork,
    NoNetwork,
}

/// NCCL's costs of a collective: algorithm by algorithm, one for each protocol, in µs.
#[derive(Debug)]
pub(crate) struct Costs<'table> {
    table: &'table mut [f32],
    protocols: usize,
}

impl Tuner {
    /// Returns a tuner; `switched_on` is the setting, or `None` if NCCL uses another network.
    pub(crate) fn new(ranks: usize, nodes: usize, switched_on: Option<bool>) -> Self {
        let part = match switched_on {
            _ if nodes <= 1 => Part::NoNetwork,
            None => Part::OtherNetwork,
            Some(false) => Part::SwitchedOff,
            Some(true) => Part::Takes,
        };
        Self { ranks, nodes, part }
    }

    /// Changes the costs of a collective of this length. The number of channels is left to NCCL.
    ///
    /// A ring passes on a message in as many parts as it has ranks, so a step carries one such part.
    pub(crate) fn tune(&self, bytes: usize, costs: &mut Costs<'_>) {
        let step = bytes.checked_div(self.ranks);
        if self.part == Part::Takes && step.is_some_and(|bytes| bytes >= LEAST_SIMPLE) {
            costs.prefer_simple();
        }
    }
}

impl fmt::Display for Tuner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        let Self { ranks, nodes, part } = *self;
        write!(f, "{ranks} rank{} on {nodes} node{}: ", plural(ranks), plural(nodes))?;
        match part {
            Part::Takes => write!(f, "protocol Simple from {LEAST_SIMPLE} bytes for each rank on"),
            Part::SwitchedOff => f.write_str("NCCL chooses alone, as GPUTCP_TUNER is 0"),
            Part::OtherNetwork => f.write_str("NCCL chooses alone, as it uses another network"),
            Part::NoNetwork => f.write_str("NCCL chooses alone, as there is no network between them"),
        }
    }
}

impl<'table> Costs<'table> {
    /// Returns how many costs a table of this shape has, if it is one that NCCL could have.
    ///
    /// NCCL has seven algorithms and three protocols so far.
    pub(crate) fn count(algorithms: c_int, protocols: c_int) -> Option<usize> {
        let (algorithms, protocols) = (usize::try_from(algorithms).ok()?, usize::try_from(protocols).ok()?);
        let known = (1..=MOST).contains(&algorithms) && (PROTO_SIMPLE + 1..=MOST).contains(&protocols);
        known.then_some(algorithms * protocols)
    }

    /// Wraps a table of so many protocols.
    pub(crate) fn new(table: &'table mut [f32], protocols: usize) -> Self {
        Self { table, protocols }
    }

    /// Makes LL and LL128 too dear for each algorithm that has Simple.
    ///
    /// A cost that NCCL ignores, or a value that is no cost, is left.
    fn prefer_simple(&mut self) {
        // NaN is in no range.
        let counts = |cost: f32| (0.0..TOO_DEAR).contains(&cost);
        for algorithm in self.table.chunks_exact_mut(self.protocols.max(PROTO_SIMPLE + 1)) {
            if !counts(algorithm[PROTO_SIMPLE]) {
                continue;
            }
            for protocol in [PROTO_LL, PROTO_LL128] {
                if counts(algorithm[protocol]) {
                    algorithm[protocol] = TOO_DEAR;
                }
            }
        }
    }
}

/// The bytes in a step from which on Simple is the faster protocol.
const LEAST_SIMPLE: usize = 16 << 10;
/// An hour, in µs: a cost that no NCCL chooses, or even looks at in older ones (`topoGetAlgoInfo` in
/// src/enqueue.cc).
///
/// It is not the -1 by which NCCL marks a choice that it ignores. The newest take the least of all costs,
/// whatever its sign (`ncclTuningSelectBestTuning` in src/tuning/tuning.cc), and would choose just that.
const TOO_DEAR: f32 = 3.6e9;
/// The most algorithms or protocols of a table of NCCL's.
const MOST: usize = 32;

#[cfg(test)]
mod tests {
    use gputcp_nccl_net::layout::tuner::COST_IGNORED;
    use proptest::prelude::*;

    use super::*;

    /// Returns a tuner for a communicator between two nodes, over this network.
    fn taking(ranks: usize) -> Tuner {
        Tuner::new(ranks, 2, Some(true))
    }

    fn tuned(tuner: &Tuner, bytes: usize, table: &[[f32; 3]]) -> Vec<f32> {
        let mut table = table.concat();
        tuner.tune(bytes, &mut Costs::new(&mut table, 3));
        table
    }

    #[test]
    fn simple_is_taken_from_a_size_on() {
        let table = [[10.0, 20.0, 30.0]];
        for (ranks, bytes, simple) in [
            (2, 2 * LEAST_SIMPLE - 1, false),
            (2, 2 * LEAST_SIMPLE, true),
            (16, 2 * LEAST_SIMPLE, false),
            (16, 16 * LEAST_SIMPLE, true),
            (1, usize::MAX, true),
            (0, usize::MAX, false),
            (usize::MAX, usize::MAX, false),
            (2, 0, false),
        ] {
            let expected = if simple { [TOO_DEAR, TOO_DEAR, 30.0] } else { table[0] };
            assert_eq!(tuned(&taking(ranks), bytes, &table), expected, "{ranks} {bytes}");
        }
    }

    #[test]
    fn only_what_has_simple_loses_the_others() {
        let table = [
            [10.0, COST_IGNORED, 30.0],
            [10.0, 20.0, COST_IGNORED],
            [0.0, f32::NAN, 0.0],
            [10.0, 20.0, f32::NAN],
            [f32::INFINITY, -7.0, 30.0],
            [10.0, 20.0, f32::INFINITY],
        ];
        let found = tuned(&taking(2), 1 << 20, &table);
        let same = |a: &[f32], b: &[f32]| a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()));
        assert!(same(&found[..3], &[TOO_DEAR, COST_IGNORED, 30.0]), "{found:?}");
        assert!(same(&found[6..9], &[TOO_DEAR, f32::NAN, 0.0]), "{found:?}");
        for left in [1, 3, 4, 5] {
            assert!(same(&found[left * 3..][..3], &table[left]), "{left}: {found:?}");
        }
    }

    #[test]
    fn it_takes_part_only_over_this_network() {
        let table = [[10.0, 20.0, 30.0]];
        for (nodes, switched_on, why) in [
            (1, Some(true), "no network between them"),
            (0, Some(true), "no network between them"),
            (2, None, "another network"),
            (2, Some(false), "GPUTCP_TUNER is 0"),
        ] {
            let tuner = Tuner::new(2, nodes, switched_on);
            assert_eq!(tuned(&tuner, 1 << 20, &table), table[0], "{tuner}");
            assert!(tuner.to_string().ends_with(why), "{tuner}");
        }
        assert_eq!(
            taking(4).to_string(),
            "4 ranks on 2 nodes: protocol Simple from 16384 bytes for each rank on"
        );
        assert!(Tuner::new(1, 1, None).to_string().starts_with("1 rank on 1 node: "));
    }

    #[test]
    fn no_table_of_nccls_is_none() {
        assert_eq!(Costs::count(7, 3), Some(21));
        assert_eq!(Costs::count(1, 4), Some(4));
        for (algorithms, protocols) in
            [(0, 3), (7, 0), (7, 2), (-1, 3), (7, -1), (33, 3), (7, 33), (c_int::MAX, c_int::MAX)]
        {
            assert_eq!(Costs::count(algorithms, protocols), None, "{algorithms} {protocols}");
        }
    }

    /// Returns NCCL 2.28's choice from a table: the least cost that is not negative.
    fn least(table: &[f32]) -> Option<usize> {
        let costs = table.iter().enumerate().filter(|(_, cost)| (0.0..TOO_DEAR).contains(*cost));
        costs.min_by(|a, b| a.1.total_cmp(b.1)).map(|(place, _)| place)
    }

    fn cost() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => 0.1f32..1e6,
            2 => Just(COST_IGNORED),
            1 => prop::num::f32::ANY,
            1 => Just(TOO_DEAR),
        ]
    }

    proptest! {
        #[test]
        fn any_table_keeps_what_it_must(
            (protocols, mut table) in (3usize..=5).prop_flat_map(|protocols| {
                (Just(protocols), prop::collection::vec(cost(), protocols * 7))
            }),
            ranks in 0usize..64,
            bytes in 0usize..1 << 24,
        ) {
            let before = table.clone();
            taking(ranks).tune(bytes, &mut Costs::new(&mut table, protocols));
            let is_long = ranks > 0 && bytes / ranks >= LEAST_SIMPLE;
            for (place, (old, new)) in before.iter().zip(&table).enumerate() {
                let (algorithm, protocol) = (place / protocols, place % protocols);
                let simple = before[algorithm * protocols + PROTO_SIMPLE];
                let is_dear = is_long && protocol < PROTO_SIMPLE && (0.0..TOO_DEAR).contains(old)
                    && (0.0..TOO_DEAR).contains(&simple);
                prop_assert_eq!(new.to_bits(), if is_dear { TOO_DEAR } else { *old }.to_bits());
            }
            // A choice is possible if it was before, and no negative cost was written for an NCCL that takes
            // the least.
            prop_assert_eq!(least(&table).is_some(), least(&before).is_some());
        }
    }
}
