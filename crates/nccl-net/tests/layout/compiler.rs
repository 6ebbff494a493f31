//! Asks a C compiler for sizes and offsets.

use std::{env, fs, path::Path, process::Command};

use crate::list::Layout;

/// Fails where C and Rust differ on the net interface. Without a compiler, only says so.
pub(crate) fn compare_net(layouts: &[Layout]) {
    let given = env::var_os("GPUTCP_NCCL_INCLUDE");
    let own = own();
    let (folder, header) = match &given {
        Some(folder) => (Path::new(folder), "net.h"),
        None => (own, "facts.h"),
    };
    // A folder of an older release does not know the newest versions.
    let header_text = fs::read_to_string(folder.join(header)).expect("a folder with NCCL's net.h");
    let known = |layout: &&Layout| {
        given.is_none()
            || layout.name.rsplit_once("_v").is_none_or(|(_, version)| {
                header_text.contains(&format!("net_v{}.h", version.trim_end_matches("_t")))
            })
    };
    let layouts: Vec<_> = layouts.iter().filter(known).collect();
    assert!(layouts.len() > 10, "{header} in {} knows too little", folder.display());
    let unpack = own.join("unpack.h");
    compare("net", &layouts, folder, &format!("#include \"{header}\"\n#include \"{}\"\n", unpack.display()));
}

/// Fails where C and Rust differ on the tuner interface. Without a compiler, only says so.
pub(crate) fn compare_tuner(layouts: &[Layout]) {
    let Some(given) = env::var_os("GPUTCP_NCCL_TUNER_INCLUDE") else {
        return compare("tuner", &layouts.iter().collect::<Vec<_>>(), own(), "#include \"tuner.h\"\n");
    };
    // NCCL's headers take these types for granted, and only the types' sizes count.
    let mut preamble = "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n\
                        typedef int ncclResult_t, ncclFunc_t;\ntypedef void (*ncclDebugLogger_t)(void);\n"
        .to_owned();
    let header = |layout: &Layout| {
        let version = layout.name.trim_start_matches("ncclTuner_").trim_end_matches("_t");
        format!("tuner_{version}.h")
    };
    let folder = Path::new(&given);
    let known: Vec<_> = layouts.iter().filter(|layout| folder.join(header(layout)).exists()).collect();
    assert!(!known.is_empty(), "{} has no tuner_v….h", folder.display());
    known.iter().for_each(|layout| preamble += &format!("#include \"{}\"\n", header(layout)));
    compare("tuner", &known, folder, &preamble);
}

fn compare(name: &str, layouts: &[&Layout], folder: &Path, preamble: &str) {
    if Command::new("cc").arg("--version").output().is_err() {
        println!("skipped: there is no C compiler called cc");
        return;
    }
    let prints: String = layouts
        .iter()
        .flat_map(|layout| expressions(layout))
        .map(|(expression, _)| format!("  printf(\"%zu\\n\", (size_t){expression});\n"))
        .collect();
    let program = format!("#include <stdio.h>\n{preamble}int main(void) {{\n{prints}  return 0;\n}}\n");
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, binary) = (scratch.join(format!("{name}-layout.c")), scratch.join(format!("{name}-layout")));
    fs::write(&source, program).unwrap();
    let compiled =
        Command::new("cc").arg("-I").arg(folder).arg("-o").arg(&binary).arg(&source).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let printed = Command::new(&binary).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let mut lines = printed.lines();
    for (expression, rust) in layouts.iter().flat_map(|layout| expressions(layout)) {
        let c: usize = lines.next().expect("a line for each").parse().unwrap();
        assert_eq!(rust, c, "{expression}");
    }
    assert_eq!(lines.next(), None);
    println!("{name}: {} structs, as in {}", layouts.len(), folder.display());
}

/// Returns C's words for each figure of a struct, and the figure in Rust.
fn expressions(layout: &Layout) -> impl Iterator<Item = (String, usize)> {
    let offset = |(field, offset): &(&str, usize)| (format!("offsetof({}, {field})", layout.name), *offset);
    std::iter::once((format!("sizeof({})", layout.name), layout.size)).chain(layout.fields.iter().map(offset))
}

/// Returns the folder of our own words for the facts of NCCL's headers.
fn own() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/layout"))
}
