//! Builds the library that brokers of some runs are started with (`shim/`), which the crate carries along. It stands in front of functions
//! of glibc, so there is none for other systems. A C compiler is needed by other dependencies as well.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

const SOURCES: [&str; 3] = ["shim/page.c", "shim/disk.c", "shim/clock.c"];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(has_shim)");
    println!("cargo::rerun-if-changed=shim");
    let of_target = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if of_target("OS") != "linux" || of_target("ENV") != "gnu" || of_target("POINTER_WIDTH") != "64" {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("shim.so");
    let compiler = cc::Build::new()
        .opt_level(2)
        // As a fortified one, `open` and others are no functions that could be defined.
        .flag("-U_FORTIFY_SOURCE")
        .warnings(true)
        .extra_warnings(true)
        .pic(true)
        .get_compiler();
    let mut command: Command = compiler.to_command();
    command.args(["-std=gnu11", "-shared", "-Wl,-z,defs", "-o"]).arg(&out).args(SOURCES).arg("-ldl");
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{told}");
    // Shown, and no error: a user's compiler may warn of more than ours.
    told.lines().for_each(|line| println!("cargo::warning={line}"));
    let bytes = fs::metadata(&out).map_or(0, |built| built.len());
    assert!(bytes > 0, "{command:?} made nothing");
    println!("cargo::rustc-cfg=has_shim");
}
