//! Says what the binary embeds, so that it is compiled anew when a file there
//! is added or changed.

const EMBEDDED: [&str; 5] = ["templates", "toolchains", "model", "../guest-sdk", "../wit"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for folder in EMBEDDED {
        println!("cargo::rerun-if-changed={folder}");
    }
}
