//! A new migration is a change of the program, too.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
