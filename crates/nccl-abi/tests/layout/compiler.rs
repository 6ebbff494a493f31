//! Asks a C compiler for sizes and offsets.

use std::{env, fs, path::Path, process::Command};

use crate::list::Layout;

/// Fails where C and Rust differ. Says so, and is content, where there is no compiler.
pub(crate) fn compare(layouts: &[Layout]) {
    if Command::new("cc").arg("--version").output().is_err() {
        println!("skipped: there is no C compiler called cc");
        return;
    }
    let given = env::var_os("GPUTCP_NCCL_INCLUDE");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layout");
    let (folder, header) = match &given {
        Some(folder) => (Path::new(folder), "net.h"),
        None => (own.as_path(), "facts.h"),
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
    let prints: String = layouts
        .iter()
        .flat_map(|layout| expressions(layout))
        .map(|(expression, _)| format!("  printf(\"%zu\\n\", (size_t){expression});\n"))
        .collect();
    let program = format!(
        "#include <stdio.h>\n#include \"{header}\"\n#include \"{}\"\nint main(void) {{\n{prints}  return 0;\n}}\n",
        own.join("unpack.h").display()
    );
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, binary) = (scratch.join("layout.c"), scratch.join("layout"));
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
}

/// C's words for each figure of a struct, and what it is in Rust.
fn expressions(layout: &Layout) -> impl Iterator<Item = (String, usize)> {
    let offset = |(field, offset): &(&str, usize)| (format!("offsetof({}, {field})", layout.name), *offset);
    std::iter::once((format!("sizeof({})", layout.name), layout.size)).chain(layout.fields.iter().map(offset))
}
