//! Says what is embedded, so that it is compiled anew when a file there is added
//! or changed.

const EMBEDDED: [&str; 3] = ["templates", "toolchains", "carried"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for folder in EMBEDDED {
        println!("cargo::rerun-if-changed={folder}");
    }
}
