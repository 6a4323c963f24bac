//! The command line.

fn main() {
    println!("keepsafe {}", env!("CARGO_PKG_VERSION"));
}
