//! The tuner in the built library: found, started, asked and ended through each version's table, as NCCL
//! does.
//!
//! Its knowledge of the network holds for a process, so each test runs in one of its own.

#[path = "../../../test-plugin/built.rs"]
mod built;
mod library;

use std::{env, ffi::c_int, process::Command, ptr};

use library::{Library, P, Tuner, logged};

#[test]
fn it_takes_part_once_the_network_is_chosen() {
    apart("it_takes_part_once_the_network_is_chosen", &[], || {
        let library = Library::open();
        // With NCCL_NET=Socket the newer NCCLs do not even try it.
        asks_nothing(&library, 2, "2 ranks on 2 nodes: NCCL chooses alone, as it uses another network");
        assert_eq!(library.try_network(), 0);
        asks_nothing(&library, 2, "2 ranks on 2 nodes: NCCL chooses alone, as it uses another network");
        library.choose_network();
        asks_nothing(
            &library,
            1,
            "2 ranks on 1 node: NCCL chooses alone, as there is no network between them",
        );
        for tuner in library.tuners() {
            let context =
                started(&tuner, 2, "2 ranks on 2 nodes: protocol Simple from 16384 bytes for each rank on");
            for (bytes, simple) in
                [(0, false), (32_767, false), (32_768, true), (1 << 20, true), (usize::MAX, true)]
            {
                let chosen = ask(&tuner, context, bytes);
                assert_eq!(chosen, if simple { 2 } else { 0 }, "v{}, {bytes} bytes", tuner.version);
            }
            assert_eq!(tuner.end(context), 0);
            assert_eq!(logged(), []);
        }
    });
}

#[test]
fn it_can_be_switched_off() {
    apart("it_can_be_switched_off", &[("GPUTCP_TUNER", "0")], || {
        let library = Library::open();
        assert_eq!(library.try_network(), 0);
        library.choose_network();
        asks_nothing(&library, 2, "2 ranks on 2 nodes: NCCL chooses alone, as GPUTCP_TUNER is 0");
    });
}

#[test]
fn a_bad_setting_ends_the_network_and_not_the_tuner() {
    apart("a_bad_setting_ends_the_network_and_not_the_tuner", &[("GPUTCP_TUNER", "maybe")], || {
        let library = Library::open();
        // ncclInvalidUsage
        assert_eq!(library.try_network(), 5);
        let said = logged();
        let bad = "the variable GPUTCP_TUNER is \"maybe\", but a switch is 0 or 1; correct or unset it";
        assert!(said.iter().any(|(level, _, text)| *level == 2 && text.ends_with(bad)), "{said:?}");
        asks_nothing(&library, 2, "2 ranks on 2 nodes: NCCL chooses alone, as it uses another network");
    });
}

#[test]
fn nonsense_changes_nothing() {
    apart("nonsense_changes_nothing", &[], || {
        let library = Library::open();
        assert_eq!(library.try_network(), 0);
        library.choose_network();
        for tuner in library.tuners() {
            // ncclInvalidArgument
            assert_eq!(tuner.init_to(2, 2, ptr::null_mut()), 4);
            let (answer, context) = tuner.init(2, 2);
            assert_eq!(answer, 0);
            let (mut table, mut channels) = ([1.0f32; 21], 0);
            let (costs, channels) = (table.as_mut_ptr(), &raw mut channels);
            let ask = |context, costs, shape, channels| {
                tuner.get_coll_info(context, 1 << 20, costs, shape, channels)
            };
            assert_eq!(ask(ptr::null_mut(), costs, (7, 3), channels), 0);
            assert_eq!(ask(context, ptr::null_mut(), (7, 3), channels), 0);
            assert_eq!(ask(context, ptr::without_provenance_mut(2), (7, 3), channels), 0);
            for shape in [(0, 3), (7, 0), (7, 2), (-7, 3), (7, -3), (c_int::MAX, c_int::MAX), (c_int::MIN, 3)]
            {
                assert_eq!(ask(context, costs, shape, channels), 0, "{shape:?}");
            }
            assert_eq!(table, [1.0; 21]);
            // NCCL gives no room for a number of channels.
            assert_eq!(ask(context, table.as_mut_ptr(), (7, 3), ptr::null_mut()), 0);
            assert_eq!((tuner.end(context), tuner.end(ptr::null_mut())), (0, 0));
            // A communicator of no ranks has no parts to divide by.
            let (answer, context) = tuner.init(0, 2);
            assert_eq!(answer, 0);
            assert_eq!(self::ask(&tuner, context, 1 << 20), 0);
            assert_eq!(tuner.end(context), 0);
        }
    });
}

/// In every version the tuner starts, logs why it leaves NCCL alone, and does so.
#[track_caller]
fn asks_nothing(library: &Library, nodes: usize, said: &str) {
    logged();
    for tuner in library.tuners() {
        let context = started(&tuner, nodes, said);
        assert_eq!(ask(&tuner, context, 1 << 20), 0, "v{}", tuner.version);
        assert_eq!(tuner.end(context), 0);
    }
}

/// Returns two ranks' tuner, started, which logged this in one line of NCCL's log.
#[track_caller]
fn started(tuner: &Tuner, nodes: usize, said: &str) -> P {
    logged();
    let (answer, context) = tuner.init(2, nodes);
    assert!(answer == 0 && !context.is_null(), "v{}", tuner.version);
    // NCCL_LOG_INFO, NCCL_INIT | NCCL_TUNING
    assert_eq!(logged(), [(3, 1 | 64, format!("TUNER/gputcp : {said}"))]);
    context
}

/// Asks about a table like NCCL's, in which LL is the cheapest; returns the protocol that NCCL then takes.
///
/// In the newest that is the least of whatever sign. Nothing else may have changed.
#[track_caller]
fn ask(tuner: &Tuner, context: P, bytes: usize) -> usize {
    let ring = [10.0, 20.0, 30.0];
    // The rows are an algorithm without Simple, one with nothing else, and those that cannot be used.
    let rest = [[40.0, 50.0, -1.0], [-1.0, -1.0, 60.0], [-1.0; 3], [-1.0; 3], [-1.0; 3], [-1.0; 3]];
    let mut table = [&[ring][..], &rest[..]].concat();
    let mut channels = 77;
    let costs = table.as_flattened_mut().as_mut_ptr();
    assert_eq!(tuner.get_coll_info(context, bytes, costs, (7, 3), &raw mut channels), 0);
    assert_eq!((&table[1..], channels), (&rest[..], 77), "v{}", tuner.version);
    let least = |a: &usize, b: &usize| table[0][*a].total_cmp(&table[0][*b]);
    (0..3).min_by(least).expect("three")
}

/// Runs a test in a process of its own, with these variables: the test's binary, asked for this test alone.
fn apart(name: &str, variables: &[(&str, &str)], body: fn()) {
    const MARK: &str = "GPUTCP_TEST_APART";
    if env::var(MARK).is_ok_and(|asked| asked == name) {
        return body();
    }
    let mut process = Command::new(env::current_exe().expect("the test's own file"));
    process.args(["--exact", name, "--nocapture"]).env_remove("GPUTCP_TUNER").env(MARK, name);
    let output = process.envs(variables.iter().copied()).output().expect("it starts");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
